import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Readable, Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { mpegTsJoinPoint } from '../../examples/mpeg-ts/index.ts';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { FanoutHubOptions } from '../../src/fanout-hub/options.ts';
import type { Subscription } from '../../src/fanout-hub/subscription.ts';
import { eventually } from '../support/eventually.ts';
import { mulberry32 } from '../support/random.ts';
import { numbered, RawClient, ScriptedSource, Sponge, serve, sha256 } from './support.ts';

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('a source', () => {
  test('that bursts 8 MiB at a time reaches everyone who takes it', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, align: 188 });
    await using server = await serve((_request, response) => void hub.pipe(response));
    const clients = Array.from({ length: 5 }, () => new RawClient(server.port, GET));
    const sponge = new Sponge();
    hub.pipe(sponge);
    await eventually(() => expect(hub.subscribers).toBe(6));
    const burst = 8 * 1024 * 1024;
    for (let n = 0; n < 3; n++) {
      source.write(numbered(n * burst, burst));
      await eventually(() => expect(clients.every(({ length }) => length > (n + 1) * burst - 188)).toBe(true));
    }
    source.stream.end();
    await Promise.all(clients.map(({ closed }) => closed));
    const whole = sha256(numbered(0, 3 * burst));
    expect(clients.map(({ body }) => sha256(body))).toEqual(clients.map(() => whole));
    await eventually(() => expect(sponge.writableFinished).toBe(true));
    expect(sha256(Buffer.concat(sponge.chunks))).toBe(whole);
  });

  test('that gives single bytes gives whole packets, and all of them', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, align: 188, sliceMs: 0 });
    const sponge = new Sponge();
    const { ended } = hub.pipe(sponge);
    const whole = numbered(0, 188 * 5 + 7);
    for (const byte of whole) source.write(Buffer.of(byte));
    source.stream.end();
    await ended;
    expect(sponge.chunks.map(({ length }) => length)).toEqual([188, 188, 188, 188, 188, 7]);
    expect(Buffer.concat(sponge.chunks).equals(whole)).toBe(true);
  });

  test('that is faster than any reader may be is read to its end, and costs no more than the bound', async () => {
    const bytes = 256 * 1024 * 1024;
    const chunk = Buffer.alloc(1024 * 1024, 0x47);
    let left = bytes / chunk.length;
    const endless = () =>
      new Readable({
        read() {
          this.push(left-- > 0 ? chunk : null);
        },
      });
    await using hub = new FanoutHub({ source: endless, maxLagBytes: 4 * 1024 * 1024 });
    const never = new Writable({ write() {} });
    const { reason } = await hub.pipe(never).ended;
    expect(reason).toBe('lagged');
    expect(hub.stats().lagged).toBe(1);
    expect(never.writableLength).toBeLessThan(8 * 1024 * 1024);
  });

  test('that fails in the midst of a slice gives what it gave before that to everyone, then the reason', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, align: 188, sliceMs: 40 });
    const iterated = hub.subscribe();
    const sponge = new Sponge();
    const piped = hub.pipe(sponge);
    const whole = numbered(0, 188 * 3 + 100);
    source.write(whole);
    await tick();
    const failure = new Error('the cable was pulled');
    source.stream.destroy(failure);
    expect(await piped.ended).toMatchObject({ reason: 'source-failed', error: failure, deliveredBytes: whole.length });
    const slices: Buffer[] = [];
    const reading = (async () => {
      for await (const slice of iterated) slices.push(slice);
    })();
    await expect(reading).rejects.toBe(failure);
    expect(Buffer.concat(slices).equals(whole)).toBe(true);
    expect(Buffer.concat(sponge.chunks).equals(whole)).toBe(true);
  });
});

test.each([
  ['is destroyed', (destination: Writable) => void destination.destroy()],
  ['fails', (destination: Writable) => void destination.destroy(new Error('disk full'))],
  ['ends itself', (destination: Writable) => void destination.end()],
])('a destination that %s while it is written to leaves alone, and the others have every byte', async (_, act) => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  let writes = 0;
  const going: Writable = new Writable({
    write(_chunk, _encoding, done) {
      if (++writes === 2) act(going);
      done();
    },
  });
  const sponge = new Sponge();
  const { ended } = hub.pipe(going);
  hub.pipe(sponge);
  for (const slice of ['a', 'b', 'c', 'd']) {
    source.write(slice);
    await tick();
  }
  expect((await ended).reason).toBe('left');
  expect([hub.subscribers, sponge.text]).toEqual([1, 'abcd']);
});

test('a response that its owner ends, or destroys, in the midst of the source is left at once', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
  const here = new Map<string | undefined, { response: ServerResponse; subscription: Subscription }>();
  await using server = await serve((request, response) => {
    here.set(request.url, { response, subscription: hub.pipe(response) });
  });
  const paths = ['/end', '/destroy', '/'];
  const clients = paths.map((path) => new RawClient(server.port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`));
  await eventually(() => expect(hub.subscribers).toBe(3));
  const [ended, destroyed] = paths.map((path) => here.get(path));
  source.write('x');
  await ended?.subscription.live;
  ended?.response.end();
  destroyed?.response.destroy();
  await eventually(() => {
    source.write('x');
    expect(hub.subscribers).toBe(1);
  });
  await Promise.all(clients.slice(0, 2).map(({ closed }) => closed));
  for (const each of [ended, destroyed]) expect((await each?.subscription.ended)?.reason).toBe('left');
  source.stream.end();
  await clients[2]?.closed;
  expect(clients[2]?.body.length).toBe(hub.stats().bytesIn);
});

/** A stream of packets: null packets and tables, some damaged, cut and shifted anywhere. */
function randomTransportStream(random: () => number, packets: number): Buffer {
  const all = Array.from({ length: packets }, () => {
    const packet = Buffer.alloc(188, Math.floor(random() * 256));
    packet.set([0x47, random() < 0.2 ? 0x40 : 0x1f, random() < 0.2 ? 0 : 0xff, random() < 0.1 ? 0xff : 0x30]);
    return random() < 0.1 ? packet.subarray(0, Math.floor(random() * 188)) : packet;
  });
  return Buffer.concat(all);
}

test.each(['disconnect', 'skip'] as const)(
  'whatever comes in whatever pieces, and whoever aborts, fails or is slow at any moment: runs of the source in order (%s)',
  async (onLag) => {
    for (let round = 0; round < 30; round++) {
      const seed = randomInt(2 ** 31);
      await oneRun(seed, onLag);
    }
  },
);

async function oneRun(seed: number, onLag: 'disconnect' | 'skip'): Promise<void> {
  const random = mulberry32(seed);
  const below = (bound: number) => Math.floor(random() * bound);
  const source = new ScriptedSource();
  const options: Partial<FanoutHubOptions> = {
    ...{ align: random() < 0.5 ? 188 : 1, sliceMs: below(3), onLag, maxLagBytes: 20_000 },
    ...(random() < 0.5 && { joinPoint: mpegTsJoinPoint(), prerollBytes: below(10_000) }),
    ...(random() < 0.3 && { prerollBytes: below(10_000) }),
  };
  await using hub = new FanoutHub({ source: source.open, closeAfterMs: 10_000, ...options });
  const bytes = randomTransportStream(random, 400);
  const viewers: { taken: Buffer[]; subscription: Subscription; isAborted: boolean }[] = [];
  const join = () => {
    const taken: Buffer[] = [];
    const slow = random() < 0.3;
    const abort = new AbortController();
    const destination = new Writable({
      highWaterMark: 1 + below(30_000),
      write(chunk, _encoding, done) {
        taken.push(Buffer.from(chunk));
        if (slow) setTimeout(done, below(20));
        else done();
      },
    });
    const subscription = hub.pipe(destination, { signal: abort.signal });
    const viewer = { taken, subscription, isAborted: false };
    viewers.push(viewer);
    if (random() < 0.3) {
      setTimeout(() => {
        viewer.isAborted = true;
        if (random() < 0.5) abort.abort();
        else destination.destroy();
      }, below(30));
    }
  };
  join();
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + below(random() < 0.1 ? 30_000 : 2_000);
    source.write(bytes.subarray(at, at + length));
    at += length;
    if (random() < 0.2) join();
    if (random() < 0.3) await new Promise((resolve) => setTimeout(resolve, below(3)));
  }
  if (random() < 0.5) source.stream.end();
  else source.stream.destroy(new Error('gone'));
  if (!source.stream.closed) await once(source.stream, 'close').catch(() => {});
  for (const { taken, subscription } of viewers) {
    const { skippedBytes, deliveredBytes } = await subscription.ended;
    const got = Buffer.concat(taken);
    expect(deliveredBytes, `seed ${seed}`).toBeLessThanOrEqual(got.length);
    if (onLag === 'disconnect') expect(skippedBytes, `seed ${seed}`).toBe(0);
    if (skippedBytes === 0) expect(bytes.includes(got), `seed ${seed}: a gap`).toBe(true);
    // What was skipped lies between two slices.
    let from = 0;
    for (const slice of taken) {
      const found = bytes.indexOf(slice, from);
      expect(found, `seed ${seed}: a slice is not of the source, or out of order`).toBeGreaterThanOrEqual(0);
      from = found + slice.length;
    }
  }
}
