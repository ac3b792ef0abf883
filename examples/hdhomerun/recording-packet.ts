/** Where a packet of MPEG-TS (ISO/IEC 13818-1) has its times, and how they are read and written. */

export const PACKET_BYTES = 188;
export const NULL_PID = 0x1fff;
/** Times are counted in 33 bits of 90 kHz. */
export const TICK_WRAP: number = 2 ** 33;

const HEADER_BYTES = 4;
/** Of the header of an elementary stream's packet, up to the presentation time, and of one time. */
const PRESENTATION_AT = 9;
const TIMESTAMP_BYTES = 5;

export interface Stamps {
  /** Offsets in the packet; 0 for what it has not. */
  readonly clockAt: number;
  readonly presentationAt: number;
  readonly decodingAt: number;
  readonly hasPayload: boolean;
}

export function pidOf(bytes: Buffer, at: number): number {
  return bytes.readUInt16BE(at + 1) & 0x1fff;
}

export function stampsOf(bytes: Buffer, at: number): Stamps {
  const control = bytes[at + 3] as number;
  const hasPayload = (control & 0x10) !== 0;
  const adaptationBytes = control & 0x20 ? 1 + (bytes[at + HEADER_BYTES] as number) : 0;
  const hasClock = adaptationBytes >= 8 && ((bytes[at + HEADER_BYTES + 1] as number) & 0x10) !== 0;
  const [presentationAt, decodingAt] = hasPayload ? timesOf(bytes, at, HEADER_BYTES + adaptationBytes) : [0, 0];
  return { clockAt: hasClock ? HEADER_BYTES + 2 : 0, presentationAt, decodingAt, hasPayload };
}

function timesOf(bytes: Buffer, at: number, payloadAt: number): [presentationAt: number, decodingAt: number] {
  const isStart = ((bytes[at + 1] as number) & 0x40) !== 0;
  const end = payloadAt + PRESENTATION_AT + 2 * TIMESTAMP_BYTES;
  if (!isStart || end > PACKET_BYTES || bytes.readUIntBE(at + payloadAt, 3) !== 1) return [0, 0];
  const flags = bytes[at + payloadAt + 7] as number;
  const presentationAt = payloadAt + PRESENTATION_AT;
  return [flags & 0x80 ? presentationAt : 0, flags & 0x40 ? presentationAt + TIMESTAMP_BYTES : 0];
}

/** The 33 bits of 90 kHz; the nine of 27 MHz below are left as they are. */
export function readPcr(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 + ((bytes[at + 4] as number) >> 7);
}

export function writePcr(bytes: Buffer, at: number, ticks: number): void {
  bytes.writeUInt32BE(Math.floor(ticks / 2), at);
  bytes[at + 4] = ((bytes[at + 4] as number) & 0x7f) | ((ticks % 2) << 7);
}

export function readTimestamp(bytes: Buffer, at: number): number {
  const high = ((bytes[at] as number) >> 1) & 0x7;
  return high * 2 ** 30 + (bytes.readUInt16BE(at + 1) >> 1) * 2 ** 15 + (bytes.readUInt16BE(at + 3) >> 1);
}

/** Each part is followed by a marker bit. */
export function writeTimestamp(bytes: Buffer, at: number, ticks: number): void {
  const low = ticks % 2 ** 30;
  bytes[at] = ((bytes[at] as number) & 0xf0) | (Math.floor(ticks / 2 ** 30) << 1) | 1;
  bytes.writeUInt16BE((low >> 15) * 2 + 1, at + 1);
  bytes.writeUInt16BE((low & 0x7fff) * 2 + 1, at + 3);
}
