import { EventEmitter, once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { constants, createGzip, type Gzip, gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { Subscription } from '../../src/fanout-hub/subscription.ts';
import { eventually } from '../support/eventually.ts';
import { Uncaught } from '../support/uncaught.ts';
import { numbered, RawClient, ScriptedSource, Sponge, serve } from './support.ts';

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
const MIB = 1024 * 1024;
const tick = () => new Promise((resolve) => setImmediate(resolve));

/** Full after each write, until the next turn of the event loop. */
class Narrow extends Sponge {
  readonly #wrote: () => void;

  constructor(wrote: () => void = () => {}) {
    super({ highWaterMark: 1 });
    this.#wrote = wrote;
  }

  override _write(chunk: Buffer, encoding: string, done: () => void): void {
    super._write(chunk, encoding, this.#wrote);
    setImmediate(done);
  }
}

/** Writes the numbered bytes in pieces of this length; returns them all. */
function writeNumbered(source: ScriptedSource, pieces: number, length: number): Buffer {
  const all = numbered(0, pieces * length);
  for (let n = 0; n < pieces; n++) source.write(all.subarray(n * length, (n + 1) * length));
  return all;
}

/** A server that pipes a hub to its responses. */
async function watched(hub: FanoutHub, prepare: (response: ServerResponse) => void = () => {}) {
  const served: { readonly response: ServerResponse; readonly subscription: Subscription }[] = [];
  const blamed: unknown[] = [];
  const server = await serve((_request, response) => {
    prepare(response);
    served.push({ response, subscription: hub.pipe(response) });
  });
  server.server.on('clientError', (error) => blamed.push(error));
  const first = async () => {
    await eventually(() => expect(served.length).toBe(1));
    return served[0] as (typeof served)[0];
  };
  return Object.assign(server, { blamed, first });
}

const bytesOf = ({ chunks }: { readonly chunks: Buffer[] }) => Buffer.concat(chunks);
const isSame = (got: Buffer, wanted: Buffer) => got.equals(wanted) || `${got.length} bytes, not ${wanted.length}`;

test('a full destination gets all that waits, in order, when the source ends while it drains', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  const narrow: Narrow = new Narrow(() => {
    if (narrow.chunks.length === 3) source.stream.end();
  });
  const { ended } = hub.pipe(narrow);
  const all = writeNumbered(source, 20, 100);
  expect(await ended).toEqual({ reason: 'source-ended', deliveredBytes: 2_000, skippedBytes: 0 });
  expect(isSame(bytesOf(narrow), all)).toBe(true);
  expect(narrow.writableFinished).toBe(true);
});

test('a destination gets in order what it makes the source write from its own write', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  const all = numbered(0, 500);
  const narrow: Narrow = new Narrow(() => {
    const { length } = bytesOf(narrow);
    if (length < all.length) source.write(all.subarray(length, length + 10));
    else source.stream.end();
  });
  const before = new Sponge();
  const subscriptions = [before, narrow].map((each) => hub.pipe(each));
  source.write(all.subarray(0, 10));
  const ends = await Promise.all(subscriptions.map(({ ended }) => ended));
  expect(ends.map(({ reason }) => reason)).toEqual(['source-ended', 'source-ended']);
  for (const each of [narrow, before]) expect(isSame(bytesOf(each), all)).toBe(true);
});

test('a destination whose write throws when it drains leaves with that error, the others get everything', async () => {
  using uncaught = new Uncaught();
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  const broken = new Error('broken write');
  let [calls, drains, drainsBefore] = [0, 0, 0];
  const thrower = new Narrow().on('drain', () => drains++);
  const write = thrower.write.bind(thrower) as (chunk: Buffer) => boolean;
  const writeTwice = (chunk: Buffer) => {
    if (++calls < 3) return write(chunk);
    drainsBefore = drains;
    throw broken;
  };
  Object.assign(thrower, { write: writeTwice });
  const sponge = new Sponge();
  const { ended } = hub.pipe(thrower);
  const other = hub.pipe(sponge);
  const all = writeNumbered(source, 10, 100);
  const end = await ended;
  expect(end.reason).toBe('left');
  expect(end.error).toBe(broken);
  expect([drainsBefore, hub.subscribers, thrower.writableCorked]).toEqual([2, 1, 0]);
  source.stream.end();
  expect((await other.ended).reason).toBe('source-ended');
  expect(isSame(bytesOf(sponge), all)).toBe(true);
  expect([uncaught.errors, calls]).toEqual([[], 3]);
});

test('a destination may say that it drains before its write returns', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  const sponge = new Sponge();
  const write = sponge.write.bind(sponge) as (chunk: Buffer) => boolean;
  let falses = 0;
  const writeAndDrain = (chunk: Buffer) => write(chunk) && sponge.emit('drain') && ++falses === 0;
  Object.assign(sponge, { write: writeAndDrain });
  const { ended } = hub.pipe(sponge);
  const all = writeNumbered(source, 50, 100);
  source.stream.end();
  expect(await ended).toMatchObject({ reason: 'source-ended', deliveredBytes: all.length });
  expect(isSame(bytesOf(sponge), all)).toBe(true);
  expect(falses).toBe(50);
});

test.each<[string, (response: ServerResponse) => void, string]>([
  ['ends', (response) => void response.end('the end'), 'the end'],
  ['destroys', (response) => void response.destroy(), ''],
])('a response that its owner %s while much waits is given nothing more', async (_what, stop, tail) => {
  using uncaught = new Uncaught();
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, maxLagBytes: 64 * MIB });
  await using server = await watched(hub);
  const client = new RawClient(server.port, GET);
  client.socket.pause();
  const { response, subscription } = await server.first();
  const all = writeNumbered(source, 16, MIB);
  await eventually(() => expect(hub.stats().bytesIn).toBe(all.length));
  await eventually(() => expect(response.socket?.writableLength).toBeGreaterThan(0));
  expect(subscription.lagBytes).toBeGreaterThan(4 * MIB);
  stop(response);
  source.write('nothing for it');
  await tick();
  client.socket.resume();
  await client.closed;
  expect(await subscription.ended).toEqual({ reason: 'left', deliveredBytes: expect.any(Number), skippedBytes: 0 });
  const bytes = client.body.subarray(0, client.body.length - tail.length);
  expect(client.body.subarray(bytes.length).toString()).toBe(tail);
  expect(bytes.length).toBeGreaterThan(0);
  expect(bytes.length).toBeLessThan(all.length);
  expect(isSame(bytes, all.subarray(0, bytes.length))).toBe(true);
  expect([client.outcome, hub.subscribers, server.blamed, uncaught.errors]).toEqual(['end', 0, [], []]);
});

test.each(['opening', 'live'])('a client that ends its side while %s, and reads on, leaves', async (state) => {
  using uncaught = new Uncaught();
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  const sponge = new Sponge();
  hub.pipe(sponge);
  await using server = await watched(hub);
  const client = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
  const closed = once(client, 'close');
  let received = '';
  client.setEncoding('latin1').on('data', (text: string) => (received += text));
  client.write(GET);
  const { subscription } = await server.first();
  if (state === 'live') {
    source.write('x');
    await eventually(() => expect(received).toMatch(/\r\n\r\nx$/));
  }
  client.end();
  await eventually(() => {
    if (state === 'live') source.write('y');
    expect(hub.subscribers).toBe(1);
  });
  expect((await subscription.ended).reason).toBe('left');
  await closed;
  expect(received).toMatch(state === 'live' ? /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nxy*$/s : /^$/);
  source.write('z');
  await eventually(() => expect(sponge.text).toMatch(state === 'live' ? /^xy*z$/ : /^z$/));
  expect([server.blamed, uncaught.errors, client.errored]).toEqual([[], [], null]);
});

/** What the package `compression` does to a response. */
function compress(response: ServerResponse): Gzip {
  const { write, end, on } = response;
  const gzip = createGzip({ level: constants.Z_BEST_SPEED });
  response.setHeader('content-encoding', 'gzip');
  Object.assign(response, {
    write: (chunk: Buffer) => gzip.write(chunk),
    end: () => gzip.end(),
    on(event: string, listener: () => void) {
      if (event === 'drain') gzip.on(event, listener);
      else Reflect.apply(on, response, [event, listener]);
      return response;
    },
  });
  gzip.on('data', (chunk) => {
    if (Reflect.apply(write, response, [chunk]) === false) gzip.pause();
  });
  gzip.on('end', () => Reflect.apply(end, response, []));
  Reflect.apply(on, response, ['drain', () => gzip.resume()]);
  return gzip;
}

test('a response that compresses gets the bytes whole, through one listener', async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error) => warning.name.startsWith('MaxListeners') && warnings.push(warning);
  process.on('warning', warned);
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, maxLagBytes: 64 * MIB });
  const gzips: Gzip[] = [];
  await using server = await watched(hub, (response) => gzips.push(compress(response)));
  const client = new RawClient(server.port, GET);
  const { response, subscription } = await server.first();
  let drains = 0;
  const gzip = gzips[0]?.on('drain', () => drains++);
  const before = response.listenerCount('drain');
  const counts = new Set<number | undefined>();
  const all = numbered(0, 12 * MIB);
  for (let at = 0; at < all.length; at += MIB / 4) {
    if (at === MIB) client.socket.pause();
    if (at === 10 * MIB) client.socket.resume();
    source.write(all.subarray(at, at + MIB / 4));
    await tick();
    counts.add(gzip?.listenerCount('drain'));
    expect(response.listenerCount('drain')).toBe(before);
  }
  source.stream.end();
  await client.closed;
  expect(isSame(gunzipSync(client.body), all)).toBe(true);
  expect(await subscription.ended).toMatchObject({ reason: 'source-ended', deliveredBytes: all.length });
  // One of them is the test's own.
  expect([...counts].at(-1)).toBe(2);
  expect(counts.size).toBeLessThanOrEqual(2);
  expect(drains).toBeGreaterThan(10);
  await tick();
  process.off('warning', warned);
  expect(warnings).toEqual([]);
});

/** No stream: its write tells nothing. */
class Duck extends EventEmitter {
  readonly chunks: Buffer[] = [];
  readonly calls: string[] = [];
  readonly write = (chunk: Buffer): void => void this.chunks.push(chunk);
  readonly destroy = (): void => void this.calls.push('destroy');
  readonly end = (): void => {
    this.calls.push('end');
    queueMicrotask(() => this.emit('finish'));
  };
}

test.each([undefined, 0])('no stream, writableLength %s: it gets every slice in order', async (writableLength) => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  const duck = Object.assign(new Duck(), { writableLength });
  const { ended } = hub.pipe(duck as unknown as Writable);
  const all = writeNumbered(source, 50, 100);
  source.stream.end();
  expect(await ended).toEqual({ reason: 'source-ended', deliveredBytes: 5_000, skippedBytes: 0 });
  expect(duck.chunks.map(({ length }) => length)).toEqual(Array(50).fill(100));
  expect(isSame(bytesOf(duck), all)).toBe(true);
  expect(duck.calls).toEqual(['end']);
});

test.each<[string, (response: ServerResponse) => void]>([
  ['a plain body', () => {}],
  ['a head that was sent', (response) => void response.writeHead(200)],
  ['a length that is known', (response) => void response.setHeader('content-length', 501 * 188)],
])('a preroll of many small slices reaches who comes late whole and in order: %s', async (_what, begin) => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0, prerollBytes: 100_000, maxLagMs: 3_000 });
  await using server = await watched(hub, begin);
  hub.pipe(new Sponge());
  const kept = writeNumbered(source, 500, 188);
  await eventually(() => expect(hub.stats()).toMatchObject({ slices: 500, bytesIn: kept.length }));
  const narrow: Narrow = new Narrow();
  const { ended } = hub.pipe(narrow);
  const answer = fetch(`http://127.0.0.1:${server.port}`);
  await eventually(() => expect([hub.subscribers, hub.stats().bytesOut]).toEqual([3, 3 * kept.length]));
  const all = numbered(0, 501 * 188);
  source.stream.end(all.subarray(kept.length));
  const body = Buffer.from(await (await answer).arrayBuffer());
  expect(isSame(body, all)).toBe(true);
  expect(await ended).toMatchObject({ reason: 'source-ended', deliveredBytes: all.length });
  expect(isSame(bytesOf(narrow), all)).toBe(true);
});

const stops: Record<string, (writable: Writable, controller: AbortController) => void> = {
  destroyed: (writable) => void writable.destroy(),
  'destroyed with an error': (writable) => void writable.destroy(new Error('broken disk')),
  aborted: (_writable, controller) => controller.abort(),
};

const paces = Object.keys(stops).flatMap((how) => ['one by one', 'at once'].map((pace) => [how, pace] as const));

test.each(paces)('a destination %s within its own write leaves alone, slices come %s', async (how, pace) => {
  using uncaught = new Uncaught();
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  const controller = new AbortController();
  const going: Narrow = new Narrow(() => {
    if (going.chunks.length === 2) stops[how]?.(going, controller);
  });
  const sponges = [new Sponge(), new Sponge()] as const;
  hub.pipe(sponges[0]);
  const { ended } = hub.pipe(going, { signal: controller.signal });
  hub.pipe(sponges[1]);
  for (let n = 0; n < 6; n++) {
    source.write(String(n));
    if (pace === 'one by one') await tick().then(tick);
  }
  const { reason, error } = await ended;
  expect(reason).toBe('left');
  if (how === 'destroyed with an error') expect(error).toEqual(new Error('broken disk'));
  expect(hub.subscribers).toBe(2);
  for (const sponge of sponges) await eventually(() => expect(sponge.text).toBe('012345'));
  await tick();
  expect(going.text).toBe('01');
  expect([uncaught.errors, going.writableCorked, going.listenerCount('drain')]).toEqual([[], 0, 0]);
});

test.each([false, true])('who is disposed of hands its destination back as it was (full: %s)', async (isFull) => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0, prerollBytes: 1_000 });
  hub.pipe(new Sponge());
  for (const slice of ['a', 'b', 'c']) source.write(slice);
  await eventually(() => expect(hub.stats().slices).toBe(3));
  const destination: Sponge = isFull ? new Narrow() : new Sponge();
  const names = destination.eventNames();
  const subscription = hub.pipe(destination);
  await subscription.live;
  expect(destination.listenerCount('drain')).toBe(1);
  await subscription[Symbol.asyncDispose]();
  expect(destination.eventNames()).toEqual(names);
  expect(destination).toMatchObject({ writable: true, writableCorked: 0, destroyed: false, writableEnded: false });
  source.write('d');
  await eventually(() => expect(hub.stats().slices).toBe(4));
  await new Promise((resolve) => destination.end('!', () => resolve(undefined)));
  expect(destination.text).toBe(isFull ? 'a!' : 'abc!');
  expect(hub.subscribers).toBe(1);
});

test('who leaves in its own write has all that came before', async () => {
  const source = new ScriptedSource();
  const stop = new AbortController();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  let got = 0;
  const destination = new Writable({
    write(chunk, _encoding, done) {
      got += chunk.length;
      if (got === 30) stop.abort();
      done();
    },
  });
  const { ended } = hub.pipe(destination, { signal: stop.signal });
  for (const bytes of [10, 20, 30]) {
    source.write('x'.repeat(10));
    await eventually(() => expect(got).toBe(bytes));
  }
  const { deliveredBytes } = await ended;
  // It left before the write of the last was over, which may still fail.
  expect(deliveredBytes).toBe(20);
});

test('what is in a write counts once against maxLagBytes', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagBytes: 100 });
  const waiting: (() => void)[] = [];
  const written: number[] = [];
  const destination = new Writable({
    highWaterMark: 1,
    write(chunk, _encoding, done) {
      written.push(chunk.length);
      if (chunk.length === 80) done();
      else waiting.push(done);
      if (chunk.length === 60) source.write('y'.repeat(10));
    },
  });
  const subscription = hub.pipe(destination);
  for (const [length, lagBytes] of [
    [80, 0],
    [10, 10],
    [60, 70],
  ] as const) {
    source.write('x'.repeat(length));
    await eventually(() => expect([hub.stats().bytesOut > 0, subscription.lagBytes]).toEqual([true, lagBytes]));
  }
  waiting.shift()?.();
  await eventually(() => expect(written).toEqual([80, 10, 60]));
  await eventually(() => expect(subscription.lagBytes).toBe(70));
  expect(hub.stats().lagged).toBe(0);
  await subscription[Symbol.asyncDispose]();
});
