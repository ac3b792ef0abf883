/** One packet of MPEG-TS (ISO/IEC 13818-1, 2.4.3.2), read in place. */

export const PACKET_BYTES = 188;
export const SYNC_BYTE = 0x47;

const HEADER_BYTES = 4;

export interface Packet {
  readonly pid: number;
  /** A table or a picture begins in it. */
  readonly isStart: boolean;
  /** Its encoder says that decoding can begin here. */
  readonly isRandomAccess: boolean;
  /** Counts the packets of a PID that have a payload, from 0 to 15. */
  readonly continuity: number;
  readonly payload: Buffer;
}

/** The packet at `at`, or `undefined` if its sender knows that it is damaged, or it contradicts itself. */
export function packetAt(bytes: Buffer, at: number): Packet | undefined {
  const head = bytes.readUInt32BE(at);
  const isDamaged = (head & 0x80_0000) !== 0;
  const hasAdaptation = (head & 0x20) !== 0;
  const hasPayload = (head & 0x10) !== 0;
  const adaptationBytes = hasAdaptation ? 1 + (bytes[at + HEADER_BYTES] as number) : 0;
  const payloadAt = HEADER_BYTES + adaptationBytes;
  if (isDamaged || payloadAt > PACKET_BYTES) return undefined;
  return {
    pid: (head >>> 8) & 0x1fff,
    isStart: (head & 0x40_0000) !== 0,
    isRandomAccess: adaptationBytes > 1 && ((bytes[at + HEADER_BYTES + 1] as number) & 0x40) !== 0,
    continuity: head & 0xf,
    payload: hasPayload ? bytes.subarray(at + payloadAt, at + PACKET_BYTES) : bytes.subarray(at, at),
  };
}

/**
 * Whether packets begin at `at`, as far as `bytes` tell.
 *
 * @param packets so many in a row are looked at: one sync byte in a picture is chance, two in a row hardly ever are
 */
export function isInSync(bytes: Buffer, at: number, packets = 2): boolean {
  for (let packet = 0; packet < packets; packet++) {
    const next = at + packet * PACKET_BYTES;
    if (next < bytes.length ? bytes[next] !== SYNC_BYTE : packet === 0) return false;
  }
  return true;
}
