import { PacketError } from './errors.ts';
import { decodeItems, encodeFrame, type Frame, type Item, PACKET_TYPE, TAG } from './packet.ts';

/** What the packets of port 65001 say: discovery and getset, as plain objects. */

/** Matches any type or any ID in a discover request. */
const WILDCARD = 0xffffffff;
/** The DeviceType of a tuner; 5 is a storage engine. */
export const TUNER_DEVICE = 1;

export interface DiscoverRequest {
  /** Absent is any. */
  readonly deviceType?: number | undefined;
  /** Eight hex digits; absent is any. */
  readonly deviceId?: string | undefined;
  /** All types a newer client looks for; instead of `deviceType`. */
  readonly deviceTypes?: readonly number[] | undefined;
}

export interface DiscoverReply {
  readonly deviceType: number;
  /** Every type the device has; sent only to those who asked for another than `deviceType`. */
  readonly deviceTypes?: readonly number[] | undefined;
  readonly deviceId: string;
  readonly deviceAuth?: string | undefined;
  readonly baseUrl?: string | undefined;
  readonly tunerCount?: number | undefined;
  readonly lineupUrl?: string | undefined;
}

export interface GetsetRequest {
  readonly name: string;
  /** Present: set the variable; absent: get it. */
  readonly value?: string | undefined;
  readonly lockKey?: number | undefined;
}

export type GetsetReply = { readonly name: string; readonly value: string } | { readonly error: string };

export function encodeDiscoverRequest(request: DiscoverRequest): Buffer {
  const types = request.deviceTypes && u32List(TAG.multiType, request.deviceTypes);
  return encodeFrame(PACKET_TYPE.discoverRequest, [
    types ?? u32(TAG.deviceType, request.deviceType ?? WILDCARD),
    u32(TAG.deviceId, request.deviceId === undefined ? WILDCARD : Number.parseInt(request.deviceId, 16)),
  ]);
}

export function decodeDiscoverRequest(frame: Frame): DiscoverRequest {
  const items = itemsOf(frame, PACKET_TYPE.discoverRequest);
  const [deviceType, deviceId] = [readU32(items, TAG.deviceType), readU32(items, TAG.deviceId)];
  return {
    deviceType: deviceType === WILDCARD ? undefined : deviceType,
    deviceId: deviceId === undefined || deviceId === WILDCARD ? undefined : idText(deviceId),
    deviceTypes: readU32List(items, TAG.multiType),
  };
}

/** In the order of a real device, since clients have been written against nothing else. */
export function encodeDiscoverReply(reply: DiscoverReply): Buffer {
  return encodeFrame(
    PACKET_TYPE.discoverReply,
    [
      u32(TAG.deviceType, reply.deviceType),
      reply.deviceTypes && u32List(TAG.multiType, reply.deviceTypes),
      u32(TAG.deviceId, Number.parseInt(reply.deviceId, 16)),
      text(TAG.deviceAuth, reply.deviceAuth),
      text(TAG.baseUrl, reply.baseUrl),
      reply.tunerCount === undefined ? undefined : { tag: TAG.tunerCount, value: Buffer.from([reply.tunerCount]) },
      text(TAG.lineupUrl, reply.lineupUrl),
    ].filter((item) => item !== undefined),
  );
}

export function decodeDiscoverReply(frame: Frame): DiscoverReply {
  const items = itemsOf(frame, PACKET_TYPE.discoverReply);
  const deviceId = readU32(items, TAG.deviceId);
  if (deviceId === undefined) throw new PacketError('discover reply has no DeviceID');
  return {
    deviceType: readU32(items, TAG.deviceType) ?? TUNER_DEVICE,
    deviceTypes: readU32List(items, TAG.multiType),
    deviceId: idText(deviceId),
    deviceAuth: readText(items, TAG.deviceAuth),
    baseUrl: readText(items, TAG.baseUrl),
    tunerCount: find(items, TAG.tunerCount)?.[0],
    lineupUrl: readText(items, TAG.lineupUrl),
  };
}

export function encodeGetsetRequest({ name, value, lockKey }: GetsetRequest): Buffer {
  const items = [zeroEnded(TAG.name, name)];
  if (value !== undefined) items.push(zeroEnded(TAG.value, value));
  if (lockKey !== undefined) items.push(u32(TAG.lockKey, lockKey));
  return encodeFrame(PACKET_TYPE.getsetRequest, items);
}

export function decodeGetsetRequest(frame: Frame): GetsetRequest {
  const items = itemsOf(frame, PACKET_TYPE.getsetRequest);
  const name = readText(items, TAG.name);
  if (!name) throw new PacketError('getset request has no name');
  return { name, value: readText(items, TAG.value), lockKey: readU32(items, TAG.lockKey) };
}

export function encodeGetsetReply(reply: GetsetReply): Buffer {
  const items =
    'error' in reply
      ? [zeroEnded(TAG.error, reply.error)]
      : [zeroEnded(TAG.name, reply.name), zeroEnded(TAG.value, reply.value)];
  return encodeFrame(PACKET_TYPE.getsetReply, items);
}

export function decodeGetsetReply(frame: Frame): GetsetReply {
  const items = itemsOf(frame, PACKET_TYPE.getsetReply);
  const error = readText(items, TAG.error);
  if (error !== undefined) return { error };
  const [name, value] = [readText(items, TAG.name), readText(items, TAG.value)];
  if (name === undefined || value === undefined) throw new PacketError('getset reply has no name or no value');
  return { name, value };
}

function itemsOf(frame: Frame, type: number): Item[] {
  if (frame.type !== type) throw new PacketError(`packet type must be ${type}, is ${frame.type}`);
  return decodeItems(frame.payload);
}

function find(items: readonly Item[], tag: number): Buffer | undefined {
  return items.find((item) => item.tag === tag)?.value;
}

function readU32(items: readonly Item[], tag: number): number | undefined {
  const value = find(items, tag);
  if (value && value.length !== 4) throw new PacketError(`tag ${tag} must have 4 bytes, has ${value.length}`);
  return value?.readUInt32BE(0);
}

function readU32List(items: readonly Item[], tag: number): number[] | undefined {
  const value = find(items, tag);
  if (!value) return undefined;
  if (value.length % 4 !== 0) throw new PacketError(`tag ${tag} must have 4 bytes per number, has ${value.length}`);
  return Array.from({ length: value.length / 4 }, (_, index) => value.readUInt32BE(index * 4));
}

/** Getset texts end with a zero byte, discovery texts don't. */
function readText(items: readonly Item[], tag: number): string | undefined {
  return find(items, tag)?.toString('utf8').replace(/\0+$/, '');
}

function u32(tag: number, value: number): Item {
  return u32List(tag, [value]);
}

function u32List(tag: number, values: readonly number[]): Item {
  const value = Buffer.alloc(values.length * 4);
  for (const [index, entry] of values.entries()) value.writeUInt32BE(entry, index * 4);
  return { tag, value };
}

function text(tag: number, value: string | undefined): Item | undefined {
  return value === undefined ? undefined : { tag, value: Buffer.from(value) };
}

function zeroEnded(tag: number, value: string): Item {
  return { tag, value: Buffer.from(`${value}\0`) };
}

function idText(deviceId: number): string {
  return deviceId.toString(16).toUpperCase().padStart(8, '0');
}
