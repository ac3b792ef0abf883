import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SubscriberLaggedError } from '../../src/errors.ts';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { SubscriptionEnd } from '../../src/fanout-hub/subscription.ts';
import { eventually } from '../support/eventually.ts';
import {
  blockedClient,
  Clogged,
  numbered,
  RawClient,
  ScriptedSource,
  Sponge,
  seeded,
  serve,
  sha256,
} from './support.ts';

afterEach(() => {
  vi.useRealTimers();
});

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

describe('identity', () => {
  test('everyone who joins and leaves at random gets one gapless range of the source', async () => {
    const seed = Date.now() >>> 0;
    const random = seeded(seed);
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, align: 188, closeAfterMs: 60_000 });
    await using server = await serve((_request, response) => void hub.pipe(response));
    const keeper = new Sponge();
    hub.pipe(keeper);
    const clients: RawClient[] = [];
    let length = 0;
    const writeMore = () => {
      const chunk = numbered(length, 1 + random(6000));
      length += chunk.length;
      source.write(chunk);
    };
    for (let round = 0; round < 300; round++) {
      writeMore();
      if (random(3) === 0) clients.push(new RawClient(server.port, GET));
      if (random(4) === 0) clients[random(clients.length)]?.socket.destroy();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => {
      writeMore();
      expect(clients.every(({ socket, bytes }) => socket.destroyed || bytes.length > 0)).toBe(true);
    });
    source.stream.end();
    await Promise.all(clients.map(({ closed }) => closed));
    await eventually(() => expect(keeper.writableFinished).toBe(true));
    const whole = numbered(0, length);
    expect(sha256(Buffer.concat(keeper.chunks)), `seed ${seed}`).toBe(sha256(whole));
    const bodies = clients.map(({ body }) => body).filter((body) => body.length > 0);
    expect(bodies.length, `seed ${seed}`).toBeGreaterThan(10);
    for (const body of bodies) {
      const start = whole.indexOf(body);
      expect([start >= 0, start % 188], `seed ${seed}, ${body.length} bytes`).toEqual([true, 0]);
      expect(sha256(body)).toBe(sha256(whole.subarray(start, start + body.length)));
    }
  });

  test.each([[1], [7], [187], [189], [1000]])('slices stay aligned to 188 with chunks of %i bytes', async (size) => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, align: 188, sliceMs: 0 });
    const early = new Sponge();
    const late = new Sponge();
    const { ended } = hub.pipe(early);
    const whole = numbered(0, 188 * 20 + 50);
    for (let at = 0; at < whole.length; at += size) {
      source.write(whole.subarray(at, at + size));
      if (hub.subscribers === 1 && at > 188 * 5) hub.pipe(late);
      if (at % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    source.stream.end();
    await ended;
    const lengths = early.chunks.map(({ length }) => length % 188);
    expect(lengths.slice(0, -1).every((rest) => rest === 0)).toBe(true);
    expect(lengths.at(-1)).toBe(50);
    expect(Buffer.concat(early.chunks).equals(whole)).toBe(true);
    const tail = Buffer.concat(late.chunks);
    expect((whole.length - tail.length) % 188).toBe(0);
    expect(tail.equals(whole.subarray(whole.length - tail.length))).toBe(true);
  });

  test('a burst beyond maxLagBytes in one chunk reaches those who keep up', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, maxLagBytes: 1024 });
    await using server = await serve((_request, response) => void hub.pipe(response));
    const client = new RawClient(server.port, GET);
    await eventually(() => expect(hub.subscribers).toBe(1));
    const burst = numbered(0, 8 * 1024 * 1024);
    source.stream.end(burst);
    await client.closed;
    expect(sha256(client.body)).toBe(sha256(burst));
  });
});

describe('slices', () => {
  test('small chunks are collected for sliceMs and written once', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, sliceMs: 40 });
    const sponge = new Sponge();
    hub.pipe(sponge);
    for (let i = 0; i < 10; i++) source.write('x');
    await vi.advanceTimersByTimeAsync(39);
    expect(sponge.chunks).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(sponge.chunks.map(String)).toEqual(['x'.repeat(10)]);
  });

  test('sliceMs 0 forwards every chunk at once', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
    const sponge = new Sponge();
    hub.pipe(sponge);
    for (const chunk of ['a', 'b', 'c']) source.write(chunk);
    await eventually(() => expect(sponge.chunks.map(String)).toEqual(['a', 'b', 'c']));
  });
});

describe('lag', () => {
  test('a reader that never reads is dropped at the bound; the others get every byte meanwhile', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, maxLagBytes: 1024 * 1024 });
    const ends: SubscriptionEnd[] = [];
    await using server = await serve((_request, response) => {
      hub.pipe(response).ended.then((end) => ends.push(end));
    });
    const blocked = Array.from({ length: 3 }, () => blockedClient(server.port));
    const healthy = Array.from({ length: 5 }, () => new RawClient(server.port, GET));
    await eventually(() => expect(hub.subscribers).toBe(8));
    const buffered = kernelBytes(blocked);
    let length = 0;
    while (hub.stats().lagged < 3) {
      const chunk = numbered(length, 64 * 1024);
      source.write(chunk);
      length += chunk.length;
      expect(length).toBeLessThan(64 * 1024 * 1024);
      await eventually(() => expect(healthy.every((client) => client.length >= length)).toBe(true));
    }
    expect(ends.map(({ reason }) => reason)).toEqual(['lagged', 'lagged', 'lagged']);
    for (const { error } of ends) {
      expect(error).toBeInstanceOf(SubscriberLaggedError);
      expect((error as SubscriberLaggedError).lagBytes).toBeLessThan(1024 * 1024 + 4 * 65_536);
    }
    await eventually(() => expect(kernelBytes(blocked)).toBe(buffered));
    source.stream.end();
    await Promise.all(healthy.map(({ closed }) => closed));
    const whole = sha256(numbered(0, length));
    expect(healthy.map(({ body }) => sha256(body))).toEqual(healthy.map(() => whole));
    for (const socket of blocked) socket.destroy();
  });

  test('a reader that takes nothing for maxLagMs is dropped although its backlog is small', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagMs: 1000 });
    const [clogged, sponge] = [new Clogged(), new Sponge()];
    const { live, ended } = hub.pipe(clogged);
    hub.pipe(sponge);
    source.write('x');
    await live;
    await vi.advanceTimersByTimeAsync(999);
    source.write('y');
    expect(hub.subscribers).toBe(2);
    await vi.advanceTimersByTimeAsync(1);
    const { reason, error } = await ended;
    expect(reason).toBe('lagged');
    expect(String(error)).toMatch(/the oldest for 1000 ms/);
    expect(clogged).toMatchObject({ destroyed: true, errored: error });
    expect(sponge.text).toBe('xy');
  });

  test('one that goes on taking bytes is not dropped, however long it has been behind', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagMs: 1000 });
    const subscription = hub.subscribe();
    const iterator = subscription[Symbol.asyncIterator]();
    for (let i = 0; i < 50; i++) {
      source.write('x');
      await vi.advanceTimersByTimeAsync(100);
      if (i > 4) await iterator.next();
    }
    expect(subscription.lagBytes).toBe(5);
  });

  test('what a blocked reader has queued when the source ends is not kept for ever', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagMs: 1000 });
    const clogged = new Clogged();
    const { live, ended } = hub.pipe(clogged);
    source.write('x');
    await live;
    source.stream.end();
    await vi.advanceTimersByTimeAsync(1000);
    expect(await ended).toMatchObject({ reason: 'lagged', deliveredBytes: 0 });
    expect(clogged.destroyed).toBe(true);
  });
});

test('one whose write makes the source give more at once changes the order for nobody', async () => {
  const source = new Readable({ read() {} });
  await using hub = new FanoutHub({ source: () => source, sliceMs: 0 });
  let writes = 0;
  const pushing = new Sponge();
  const write = pushing._write.bind(pushing);
  pushing._write = (chunk, encoding, done) => {
    if (writes++ < 5) source.push(`${writes}`);
    write(chunk, encoding, done);
  };
  const others = [new Sponge(), new Sponge()];
  for (const destination of [pushing, ...others]) hub.pipe(destination);
  await eventually(() => expect(hub.state).toBe('opening'));
  source.push('0');
  await eventually(() => expect([pushing, ...others].map(({ text }) => text)).toEqual(Array(3).fill('012345')));
});

test('a destination that never finishes does not keep its subscription for ever', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const source = new ScriptedSource();
  const hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagMs: 1000 });
  const endless = Object.assign(new Sponge(), { _final: () => {} });
  const { live, ended } = hub.pipe(endless);
  source.write('x');
  await live;
  source.stream.end();
  await vi.advanceTimersByTimeAsync(1000);
  expect(await ended).toMatchObject({ reason: 'lagged', deliveredBytes: 1 });
  expect(endless.destroyed).toBe(true);
});

test('a plain socket gets the bytes; one that does not read is reset', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, maxLagBytes: 65_536 });
  const server = createServer((socket) => void hub.pipe(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const [healthy, blocked] = [new RawClient(port, ''), new RawClient(port, '')];
  blocked.socket.pause();
  await eventually(() => expect(hub.subscribers).toBe(2));
  let length = 0;
  while (hub.stats().lagged === 0) {
    source.write(numbered(length, 65_536));
    length += 65_536;
    await eventually(() => expect(healthy.length).toBe(length));
  }
  // Node 22 tells its client of a reset as of an end, so the kernel is asked: it keeps nothing of a connection reset.
  await eventually(() => expect(isOpenAtServer(blocked.socket)).toBe(false));
  blocked.socket.resume();
  await blocked.closed;
  source.stream.end();
  await healthy.closed;
  expect([healthy.outcome, sha256(healthy.bytes)]).toEqual(['end', sha256(numbered(0, length))]);
  await new Promise((resolve) => server.close(resolve));
});

/** Whether the kernel has the server's side of a connection, be it only to send what its client has not taken. */
function isOpenAtServer({ localPort, remotePort }: Socket): boolean {
  const [client, server] = [hexPort(localPort), hexPort(remotePort)];
  return connections().some(({ local, remote }) => local.endsWith(server) && remote.endsWith(client));
}

/** What the kernel holds for the connections of these clients, on both sides. */
function kernelBytes(clients: readonly Socket[]): number {
  const ports = new Set(clients.map(({ localPort }) => hexPort(localPort)));
  return connections()
    .filter(({ local, remote }) => ports.has(local.slice(-5)) || ports.has(remote.slice(-5)))
    .flatMap(({ queues }) => queues.split(':'))
    .reduce((sum, queue) => sum + Number.parseInt(queue, 16), 0);
}

/** A port as `/proc/net/tcp` ends an address with it. */
function hexPort(port = 0): string {
  return `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
}

function connections(): { local: string; remote: string; queues: string }[] {
  const rows = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1);
  return rows.map((row) => {
    const [, local = '', remote = '', , queues = '0:0'] = row.trim().split(/\s+/);
    return { local, remote, queues };
  });
}
