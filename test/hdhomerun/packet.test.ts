import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { hdhomerunSource, isValidDeviceId, makeDeviceId, PacketError } from '../../examples/hdhomerun/index.ts';
import {
  decodeDiscoverReply,
  decodeDiscoverRequest,
  decodeGetsetReply,
  decodeGetsetRequest,
  encodeDiscoverReply,
  encodeDiscoverRequest,
  encodeGetsetReply,
  encodeGetsetRequest,
} from '../../examples/hdhomerun/messages.ts';
import { decodeFrame, decodeItems, encodeFrame, takeFrame } from '../../examples/hdhomerun/packet.ts';

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');

/** As captured from real clients. */
const DEBIAN_REQUEST = bytes('0002000c 0104ffffffff 0204ffffffff 73cc7d8f');
const CLIENT_2025_REQUEST = bytes('00020006 0104ffffffff 4c20cb4e');
const KODI_REQUEST = bytes('0002000c 010400000001 0204ffffffff 4e507f35');
const LOOK_UP_REQUEST = bytes('0002000c 0104ffffffff 02041234abc2 76f82db0');
const GET_MODEL_REQUEST = bytes('0004000d 030b2f7379732f6d6f64656c00 8f5b54b5');

describe('packets', () => {
  test.each([
    ['the Debian client', DEBIAN_REQUEST, {}],
    ['the client of 2025', CLIENT_2025_REQUEST, {}],
    ['Kodi', KODI_REQUEST, { deviceType: 1 }],
    ['a look-up by ID', LOOK_UP_REQUEST, { deviceId: '1234ABC2' }],
  ])('the discover request of %s is understood', (_who, packet, expected) => {
    expect(decodeDiscoverRequest(decodeFrame(packet))).toEqual(expected);
  });

  test('requests are made to the byte as real clients make them', () => {
    expect(encodeDiscoverRequest({})).toEqual(DEBIAN_REQUEST);
    expect(encodeDiscoverRequest({ deviceType: 1 })).toEqual(KODI_REQUEST);
    expect(encodeDiscoverRequest({ deviceId: '1234ABC2' })).toEqual(LOOK_UP_REQUEST);
    expect(encodeGetsetRequest({ name: '/sys/model' })).toEqual(GET_MODEL_REQUEST);
  });

  test('a getset request is understood with its value and lock key', () => {
    expect(decodeGetsetRequest(decodeFrame(GET_MODEL_REQUEST))).toEqual({ name: '/sys/model' });
    const request = { name: '/tuner0/lockkey', value: 'none', lockKey: 4_000_000_000 };
    expect(decodeGetsetRequest(decodeFrame(encodeGetsetRequest(request)))).toEqual(request);
  });

  test('a discover reply comes back as it was sent, its items in the order of a real device', () => {
    const reply = {
      deviceType: 1,
      deviceTypes: [1],
      deviceId: '1234ABC2',
      deviceAuth: 'auth',
      baseUrl: 'http://127.0.0.1:80',
      tunerCount: 2,
      lineupUrl: 'http://127.0.0.1:80/lineup.json',
    };
    const frame = decodeFrame(encodeDiscoverReply(reply));
    expect(decodeDiscoverReply(frame)).toEqual(reply);
    expect(decodeItems(frame.payload).map(({ tag }) => tag)).toEqual([0x01, 0x2d, 0x02, 0x2b, 0x2a, 0x10, 0x27]);
  });

  test.each([{ name: '/sys/model', value: 'hdhomerun4_atsc' }, { error: 'ERROR: unknown getset variable' }])(
    'a getset reply comes back as it was sent: %o',
    (reply) => expect(decodeGetsetReply(decodeFrame(encodeGetsetReply(reply)))).toEqual(reply),
  );

  test.each([0, 1, 127, 128, 300, 1400])(
    'a value of %i bytes survives the one or two bytes of its length',
    (length) => {
      const value = Buffer.alloc(length, 7);
      const { payload } = decodeFrame(encodeFrame(4, [{ tag: 3, value }]));
      expect(decodeItems(payload)).toEqual([{ tag: 3, value }]);
      expect(payload.length).toBe(length + (length > 127 ? 3 : 2));
    },
  );

  test('a packet that would not fit a datagram is refused with its size', () => {
    const oversize = [{ tag: 3, value: Buffer.alloc(1450) }];
    expect(() => encodeFrame(4, oversize)).toThrow('payload must be at most 1452 bytes, is 1453');
  });

  test('frames are cut out of a byte stream wherever its chunks end', () => {
    const stream = Buffer.concat([GET_MODEL_REQUEST, DEBIAN_REQUEST]);
    for (let cut = 0; cut < GET_MODEL_REQUEST.length; cut++) expect(takeFrame(stream.subarray(0, cut))).toBeUndefined();
    const first = takeFrame(stream);
    expect(first?.frame.type).toBe(4);
    expect(first?.rest).toEqual(DEBIAN_REQUEST);
  });

  test('a flipped bit anywhere in a packet is noticed', () => {
    for (let bit = 0; bit < GET_MODEL_REQUEST.length * 8; bit++) {
      const damaged = Buffer.from(GET_MODEL_REQUEST);
      damaged.writeUInt8((damaged[bit >> 3] as number) ^ (1 << (bit & 7)), bit >> 3);
      expect(() => decodeFrame(damaged)).toThrow(PacketError);
    }
  });

  test.each([
    ['a value', '03 05 61 62'],
    ['a length', '03'],
    ['a second byte of a length', '03 80'],
    ['the name', '04 02 61 00'],
    ['a byte of the lock key', '03 02 61 00 15 03 00 00 01'],
  ])('a getset request that lacks %s is a PacketError', (_what, payload) => {
    expect(() => decodeGetsetRequest({ type: 4, payload: bytes(payload) })).toThrow(PacketError);
  });

  test('random bytes, bare or in a valid frame, are a PacketError and nothing else', () => {
    const decoders = [decodeDiscoverRequest, decodeDiscoverReply, decodeGetsetRequest, decodeGetsetReply];
    for (let round = 0; round < 5000; round++) {
      const rubbish = randomBytes(round % 64);
      expectOnlyPacketError(() => decodeFrame(rubbish), rubbish);
      for (const decode of decoders) {
        for (const type of [2, 3, 4, 5]) expectOnlyPacketError(() => decode({ type, payload: rubbish }), rubbish);
      }
    }
  });
});

function expectOnlyPacketError(decode: () => unknown, input: Buffer): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof PacketError)) throw new Error(`for ${input.toString('hex')}`, { cause: error });
  }
}

describe('DeviceIDs', () => {
  test.each(['1234ABC2', '105404BE', '105404be'])('%s has a valid checksum', (deviceId) => {
    expect(isValidDeviceId(deviceId)).toBe(true);
  });

  test.each(['12345678', '1234ABC3', '1234ABC', '1234ABC22', 'not hex!', ''])('"%s" is not valid', (deviceId) => {
    expect(isValidDeviceId(deviceId)).toBe(false);
  });

  test('a made one is valid, the same for the same seed and another for another', () => {
    const made = Array.from({ length: 200 }, (_, seed) => makeDeviceId(`seed ${seed}`));
    expect(made.filter((deviceId) => !isValidDeviceId(deviceId))).toEqual([]);
    expect(new Set(made).size).toBe(200);
    expect(makeDeviceId('seed 7')).toBe(made[7]);
  });

  test('a source is named by device and channel, whatever the case of the DeviceID', () => {
    expect(hdhomerunSource('1234abc2', '5.1')).toBe('hdhomerun:1234ABC2/v5.1');
    expect(() => hdhomerunSource('tuner', '5.1')).toThrow('deviceId must be 8 hex digits, received tuner');
  });
});
