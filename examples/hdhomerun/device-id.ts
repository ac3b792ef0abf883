import { createHash } from 'node:crypto';

/** The makers' substitution for every second nibble of a DeviceID. */
const SUBSTITUTION = [0xa, 0x5, 0xf, 0x6, 0x7, 0xc, 0x1, 0xb, 0x9, 0x2, 0x8, 0xd, 0x4, 0x3, 0xe, 0x0] as const;

/** Whether the text is a DeviceID whose checksum is right. Emulators in the field don't all bother. */
export function isValidDeviceId(deviceId: string): boolean {
  return /^[0-9a-f]{8}$/i.test(deviceId) && checksum(deviceId) === 0;
}

/** What a DeviceID of this form would be if its last digit were right. */
export function correctedDeviceId(deviceId: string): string {
  const sevenNibbles = deviceId.slice(0, 7);
  return `${sevenNibbles}${checksum(sevenNibbles).toString(16)}`.toUpperCase();
}

/**
 * A valid DeviceID that is always the same for the same seed: two installations with their own seeds don't collide. It
 * begins with 1A to 1F, which no model of the makers does: by theirs, libhdhomerun knows the models that are too old for
 * HTTP, and many players leave those out.
 */
export function makeDeviceId(seed: string): string {
  const hash = createHash('sha256').update(seed).digest();
  return correctedDeviceId(`1${'abcdef'[hash.readUInt8(31) % 6]}${hash.toString('hex').slice(0, 5)}`);
}

/** The identity of a channel of a device, whatever address it is reached by: what a `SourceLock` is taken on. */
export function hdhomerunSource(deviceId: string, channel: string): string {
  if (!/^[0-9a-f]{8}$/i.test(deviceId)) throw new TypeError(`deviceId must be 8 hex digits, received ${deviceId}`);
  return `hdhomerun:${deviceId.toUpperCase()}/v${channel}`;
}

function checksum(nibbles: string): number {
  return [...nibbles].reduce((sum, digit, index) => sum ^ contribution(Number.parseInt(digit, 16), index), 0);
}

function contribution(nibble: number, index: number): number {
  return index % 2 === 0 ? (SUBSTITUTION[nibble] as number) : nibble;
}
