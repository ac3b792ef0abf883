import { crc32 } from 'node:zlib';
import { PacketError } from './errors.ts';

/**
 * The packets of port 65001, for UDP discovery and TCP control alike:
 * `u16be type | u16be length | payload | u32le CRC-32 of all before it`, with a payload of tag-length-value items.
 */

export const PACKET_TYPE = { discoverRequest: 2, discoverReply: 3, getsetRequest: 4, getsetReply: 5 } as const;

export const TAG = {
  deviceType: 0x01,
  deviceId: 0x02,
  name: 0x03,
  value: 0x04,
  error: 0x05,
  tunerCount: 0x10,
  lockKey: 0x15,
  lineupUrl: 0x27,
  baseUrl: 0x2a,
  deviceAuth: 0x2b,
  multiType: 0x2d,
} as const;

const HEADER_BYTES = 4;
const CRC_BYTES = 4;
/** What fits one datagram; the makers' own limit, for TCP too. */
const MAX_PACKET_BYTES = 1460;
const MAX_PAYLOAD_BYTES: number = MAX_PACKET_BYTES - HEADER_BYTES - CRC_BYTES;
const MAX_VALUE_BYTES = 0x7fff;

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** One tag-length-value item. */
export interface Item {
  readonly tag: number;
  readonly value: Buffer;
}

export function encodeFrame(type: number, items: readonly Item[]): Buffer {
  const payload = encodeItems(items);
  if (payload.length > MAX_PAYLOAD_BYTES) {
    throw new PacketError(`payload must be at most ${MAX_PAYLOAD_BYTES} bytes, is ${payload.length}`);
  }
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(payload.length, 2);
  return withCrc(Buffer.concat([header, payload]));
}

function withCrc(bytes: Buffer): Buffer {
  const crc = Buffer.alloc(CRC_BYTES);
  crc.writeUInt32LE(crc32(bytes), 0);
  return Buffer.concat([bytes, crc]);
}

/** Decodes a datagram: exactly one frame. Throws {@link PacketError} for anything else. */
export function decodeFrame(datagram: Buffer): Frame {
  const taken = takeFrame(datagram);
  if (!taken) throw new PacketError(`packet of ${datagram.length} bytes is cut short`);
  if (taken.rest.length > 0) throw new PacketError(`packet is followed by ${taken.rest.length} bytes`);
  return taken.frame;
}

/**
 * Takes the first frame off what a TCP peer has sent so far; `undefined` while it is incomplete. Throws
 * {@link PacketError} where no frame can come of it any more, so what is kept stays under one packet's size.
 */
export function takeFrame(received: Buffer): { frame: Frame; rest: Buffer } | undefined {
  if (received.length < HEADER_BYTES) return undefined;
  const length = received.readUInt16BE(2);
  if (length > MAX_PAYLOAD_BYTES) throw new PacketError(`length ${length} is above ${MAX_PAYLOAD_BYTES}`);
  const end = HEADER_BYTES + length;
  if (received.length < end + CRC_BYTES) return undefined;
  checkCrc(received.subarray(0, end), received.readUInt32LE(end));
  const frame = { type: received.readUInt16BE(0), payload: received.subarray(HEADER_BYTES, end) };
  return { frame, rest: received.subarray(end + CRC_BYTES) };
}

function checkCrc(bytes: Buffer, received: number): void {
  const expected = crc32(bytes);
  if (expected !== received) throw new PacketError(`CRC is ${hex(received)}, must be ${hex(expected)}`);
}

/** The result, or `undefined` if the bytes were no packet. */
export function ignoringRubbish<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof PacketError) return undefined;
    throw error;
  }
}

function encodeItems(items: readonly Item[]): Buffer {
  return Buffer.concat(items.flatMap(({ tag, value }) => [Buffer.from([tag]), encodeLength(value.length), value]));
}

function encodeLength(length: number): Buffer {
  if (length > MAX_VALUE_BYTES) throw new PacketError(`value must be at most ${MAX_VALUE_BYTES} bytes, is ${length}`);
  return Buffer.from(length <= 0x7f ? [length] : [(length & 0x7f) | 0x80, length >> 7]);
}

/** The items of a payload in their order; unknown tags are kept. Throws {@link PacketError} if one is cut short. */
export function decodeItems(payload: Buffer): Item[] {
  const items: Item[] = [];
  for (let at = 0; at < payload.length; ) {
    const { length, start } = decodeLength(payload, at + 1);
    if (start + length > payload.length) throw new PacketError(`item at byte ${at} is cut short`);
    items.push({ tag: payload[at] as number, value: payload.subarray(start, start + length) });
    at = start + length;
  }
  return items;
}

function decodeLength(payload: Buffer, at: number): { length: number; start: number } {
  const [low, high] = [payload[at], payload[at + 1]];
  if (low === undefined) throw new PacketError(`length at byte ${at} is missing`);
  if (low <= 0x7f) return { length: low, start: at + 1 };
  if (high === undefined) throw new PacketError(`length at byte ${at} is cut short`);
  return { length: (low & 0x7f) | (high << 7), start: at + 2 };
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
