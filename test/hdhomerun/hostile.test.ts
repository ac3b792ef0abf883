import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlServer, DiscoveryResponder, discover, getVariable } from '../../examples/hdhomerun/index.ts';
import { encodeDiscoverRequest, encodeGetsetRequest } from '../../examples/hdhomerun/messages.ts';
import { encodeFrame, PACKET_TYPE } from '../../examples/hdhomerun/packet.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';

/** Printed, so that what is found can be found again: `FAST_CHECK_SEED=… vitest run …`. */
const seed = Number(process.env.FAST_CHECK_SEED ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = { seed, numRuns: 150, verbose: 1 };
const LONG_VALUE = 'x'.repeat(1_000);

let control: ControlServer;
let responder: DiscoveryResponder;
let describes: () => Promise<{ deviceType: number; deviceId: string; baseUrl: string }>;

beforeAll(async () => {
  console.log(`seed of the rubbish: ${seed}`);
  describes = async () => ({ deviceType: 1, deviceId: '1234ABC2', baseUrl: 'http://127.0.0.1' });
  control = await ControlServer.start({
    address: '127.0.0.1',
    port: 0,
    answer: ({ name }) => ({ name, value: LONG_VALUE }),
  });
  responder = await DiscoveryResponder.start({ address: '127.0.0.1', port: 0, describe: () => describes() });
});

afterAll(() => Promise.all([control, responder].map((each) => each[Symbol.asyncDispose]())));

/** Anything: bytes, bytes in a valid frame, and valid packets that are cut, doubled or have a wrong byte. */
const rubbish = fc.oneof(
  fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(fc.integer({ min: 0, max: 0xffff }), fc.uint8Array({ maxLength: 600 }))
    .map(([type, bytes]) => encodeFrame(type, [{ tag: bytes[0] ?? 0, value: Buffer.from(bytes) }])),
  fc
    .tuple(
      fc.constantFrom(encodeDiscoverRequest({}), encodeGetsetRequest({ name: '/sys/model' })),
      fc.nat(40),
      fc.nat(255),
    )
    .map(([packet, at, byte]) => {
      const broken = Buffer.concat([packet, packet.subarray(0, at)]);
      broken[at % broken.length] = byte;
      return broken;
    }),
);

const getFrom = () => getVariable('127.0.0.1', 'alive', { port: control.port, timeoutMs: promisedMs(2_500) });

describe('the TCP port', () => {
  async function open(): Promise<Socket> {
    const socket = connect(control.port, '127.0.0.1').on('error', () => {});
    await once(socket, 'connect');
    return socket;
  }

  test('answers others on, whatever bytes it is sent and however they are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(rubbish, { minLength: 1, maxLength: 5 }), fc.boolean(), async (pieces, isTorn) => {
        const socket = await open();
        socket.resume();
        for (const piece of pieces) socket.write(piece);
        if (isTorn) socket.resetAndDestroy();
        else socket.end();
        expect(await getFrom()).toBe(LONG_VALUE);
        socket.destroy();
      }),
      RUNS,
    );
  });

  test('ends the connection of one whose frame is too long, before it has sent it', async () => {
    const socket = await open();
    socket.resume().write(Buffer.from([0, PACKET_TYPE.getsetRequest, 0xff, 0xff]));
    await once(socket, 'close');
  });

  test('does not listen to one that asks without reading, keeps little for it, and answers it when it reads', async () => {
    const socket = await open();
    socket.pause();
    const request = encodeGetsetRequest({ name: 'flood' });
    const flood = Buffer.concat(Array.from({ length: 2_000 }, () => request));
    const before = process.memoryUsage().arrayBuffers;
    let sent = 0;
    await eventually(() => {
      for (; sent < 400 && socket.writableLength < 1_000_000; sent += 1) socket.write(flood);
      expect(socket.writableLength).toBeGreaterThan(500_000);
    });
    expect(await getFrom()).toBe(LONG_VALUE);
    // What waits here is in this process too, on the side of who floods.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40_000_000);
    const taken = socket.bytesWritten - socket.writableLength;
    let read = 0;
    socket.on('data', (chunk) => (read += chunk.length)).resume();
    const answerBytes = 1_000 + 20;
    await eventually(() => expect(read).toBeGreaterThan((taken / request.length / 10) * answerBytes));
    socket.destroy();
  });

  test('has room for a few dozen connections, and for others when those are gone', async () => {
    const sockets = await Promise.all(Array.from({ length: 40 }, open));
    for (const socket of sockets) socket.resume();
    await eventually(() => expect(sockets.some(({ closed }) => closed)).toBe(true));
    for (const socket of sockets) socket.destroy();
    await eventually(async () => expect(await getFrom()).toBe(LONG_VALUE));
  });
});

describe('the UDP port', () => {
  const finds = () => discover({ address: '127.0.0.1', port: responder.port, timeoutMs: promisedMs(2_000) });

  async function sender(): Promise<DatagramSocket> {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return socket;
  }

  test('answers others on, whatever it is sent', async () => {
    const socket = await sender();
    await fc.assert(
      fc.asyncProperty(fc.array(rubbish, { minLength: 1, maxLength: 20 }), async (datagrams) => {
        for (const datagram of datagrams) socket.send(datagram, responder.port, '127.0.0.1');
        expect(await finds()).toMatchObject([{ deviceId: '1234ABC2' }]);
      }),
      { ...RUNS, numRuns: 60 },
    );
    socket.close();
  });

  test('makes no more than a few dozen answers at a time, and answers again when those are over', async () => {
    const waiting: (() => void)[] = [];
    const answer = describes;
    describes = () => new Promise((resolve) => waiting.push(() => resolve(answer())));
    const socket = await sender();
    for (let count = 0; count < 300; count += 1) socket.send(encodeDiscoverRequest({}), responder.port, '127.0.0.1');
    await eventually(() => expect(waiting.length).toBe(64));
    describes = answer;
    expect(await discover({ address: '127.0.0.1', port: responder.port, timeoutMs: 100 })).toEqual([]);
    for (const go of waiting) go();
    await eventually(async () => expect(await finds()).toHaveLength(1));
    socket.close();
  });

  test('survives a device that can not be described, or not in a packet', async () => {
    const answer = describes;
    const failures: (typeof describes)[] = [
      () => Promise.reject(new Error('no route')),
      () => {
        throw new Error('at once');
      },
      async () => ({ deviceType: 1, deviceId: '1234ABC2', baseUrl: 'x'.repeat(2_000) }),
    ];
    for (const failure of failures) {
      describes = failure;
      expect(await discover({ address: '127.0.0.1', port: responder.port, timeoutMs: 50 })).toEqual([]);
    }
    describes = answer;
    expect(await finds()).toHaveLength(1);
  });
});
