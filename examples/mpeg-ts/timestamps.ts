/** Times of MPEG-TS (ISO/IEC 13818-1, 2.4.3.6): 33 bits that count 90 000 a second, so that they begin anew after 26.5 hours. */

export const TICKS_PER_SECOND = 90_000;

const WRAP = 2 ** 33;
const HEADER_BYTES = 9;
const TIME_BYTES = 5;

/** When something is shown, and when it is decoded, which always grows. */
export interface Timestamps {
  readonly pts: number;
  readonly dts: number;
}

/** Of the packet of an elementary stream that begins with `payload`; `undefined` if it has none, or is not whole. */
export function timestampsOf(payload: Buffer): Timestamps | undefined {
  const isPes = payload.length >= HEADER_BYTES + TIME_BYTES && payload.readUIntBE(0, 3) === 1;
  if (!isPes) return undefined;
  const [head, flags] = [payload[6] as number, payload[7] as number];
  if ((head & 0xc0) !== 0x80 || (flags & 0x80) === 0) return undefined;
  const pts = timeAt(payload, HEADER_BYTES);
  const hasDts = (flags & 0x40) !== 0 && payload.length >= HEADER_BYTES + 2 * TIME_BYTES;
  return { pts, dts: hasDts ? timeAt(payload, HEADER_BYTES + TIME_BYTES) : pts };
}

/** From one time to another in ticks, the shorter way round: negative if `to` is before `from`. */
export function ticksBetween(from: number, to: number): number {
  return ((((to - from + WRAP / 2) % WRAP) + WRAP) % WRAP) - WRAP / 2;
}

/** 3, 15 and 15 bits, with a marker after each. More than 32 bits: no shifts for the first. */
function timeAt(bytes: Buffer, at: number): number {
  const high = ((bytes[at] as number) >> 1) & 0x07;
  const middle = bytes.readUInt16BE(at + 1) >> 1;
  const low = bytes.readUInt16BE(at + 3) >> 1;
  return high * 2 ** 30 + middle * 2 ** 15 + low;
}
