import { Writable } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SubscriberLaggedError } from '../../src/errors.ts';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { Subscription } from '../../src/fanout-hub/subscription.ts';
import { eventually } from '../support/eventually.ts';
import { blockedClient, Clogged, numbered, RawClient, ScriptedSource, Sponge, serve } from './support.ts';

afterEach(() => {
  vi.useRealTimers();
});

const capital = (slice: Buffer) => {
  const at = slice.toString().search(/[A-Z]/);
  return at < 0 ? undefined : at;
};
const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('one that lags and may skip', () => {
  test('goes on at the next join point, without what it had not taken, and is told how much it missed', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0, joinPoint: capital, onLag: 'skip' });
    const lagged: unknown[] = [];
    hub.on('lag', (subscription, error) => lagged.push(subscription, error));
    const healthy = new Sponge();
    hub.pipe(healthy);
    const slow = hub.subscribe({ maxLagBytes: 3 });
    const slices = slow[Symbol.asyncIterator]();
    const next = async () => String((await slices.next()).value);
    const write = async (...slices: string[]) => {
      for (const slice of slices) {
        source.write(slice);
        await tick();
      }
    };
    await write('ab');
    expect(await next()).toBe('ab');
    await write('cd', 'ef', 'gh', 'i');
    expect(lagged).toEqual([slow, expect.any(SubscriberLaggedError)]);
    expect(lagged[1]).toMatchObject({ lagBytes: 4 });
    expect(slow).toMatchObject({ lagBytes: 0, deliveredBytes: 2, skippedBytes: 0 });
    expect(hub.stats()).toMatchObject({ lagged: 0, skips: 1, skippedBytes: 0, lagBytes: 0, lags: [0, 0] });
    await write('jKl', 'm');
    expect(hub.stats().skippedBytes).toBe(8);
    expect([await next(), await next()]).toEqual(['Kl', 'm']);
    expect(slow).toMatchObject({ deliveredBytes: 5, skippedBytes: 'cdefghij'.length });
    expect(healthy.text).toBe('abcdefghijKlm');
    await slow[Symbol.asyncDispose]();
    expect(await slow.ended).toMatchObject({ reason: 'left', deliveredBytes: 5, skippedBytes: 8 });
    expect(hub.stats()).toMatchObject({ skips: 1, skippedBytes: 8, lags: [0] });
  });

  test('is not given what it had already, where a join point begins before it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const source = new ScriptedSource();
    const joinPoint = (slice: Buffer) => (/\d/.test(String(slice)) ? -Number(slice) : undefined);
    const hub = new FanoutHub({ source: source.open, sliceMs: 0, joinPoint, maxLagMs: 1_000, onLag: 'skip' });
    const slow = hub.subscribe();
    const slices = slow[Symbol.asyncIterator]();
    const next = async () => String((await slices.next()).value);
    const write = async (slice: string) => {
      source.write(slice);
      await tick();
    };
    await write('a');
    await write('b');
    for (const slice of ['c', 'd']) {
      await vi.advanceTimersByTimeAsync(500);
      await next();
      await write(slice);
    }
    await vi.advanceTimersByTimeAsync(500);
    expect(hub.stats()).toMatchObject({ skips: 1, lags: [0] });
    await write('3');
    expect(slow.lagBytes).toBe(0);
    await write('1');
    expect([await next(), await next()]).toEqual(['3', '1']);
    expect(slow.skippedBytes).toBe('cd'.length);
  });

  test('goes on with any slice without join points, and may skip again', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagBytes: 1, onLag: 'skip' });
    const slow = hub.subscribe();
    const slices = slow[Symbol.asyncIterator]();
    for (const slice of ['ab', 'cd', 'ef', 'gh', 'ij']) {
      source.write(slice);
      await tick();
    }
    // ab and ef were too old when cd and gh came.
    expect(String((await slices.next()).value)).toBe('ij');
    source.stream.end();
    expect(await slow.ended).toMatchObject({ reason: 'source-ended', deliveredBytes: 2, skippedBytes: 8 });
    expect(hub.stats()).toMatchObject({ skips: 2, lagged: 0 });
  });

  test('skips what has waited for too long as well', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagMs: 1_000, onLag: 'skip' });
    const slow = hub.subscribe();
    const slices = slow[Symbol.asyncIterator]();
    for (const slice of ['a', 'b', 'c']) source.write(slice);
    await tick();
    await vi.advanceTimersByTimeAsync(500);
    expect(String((await slices.next()).value)).toBe('a');
    source.write('d');
    await tick();
    await vi.advanceTimersByTimeAsync(500);
    expect(String((await slices.next()).value)).toBe('b');
    source.write('e');
    await tick();
    await vi.advanceTimersByTimeAsync(499);
    expect(hub.stats()).toMatchObject({ skips: 0, lags: [3] });
    await vi.advanceTimersByTimeAsync(1);
    expect(hub.stats()).toMatchObject({ skips: 1, lagged: 0, subscribers: 1, lags: [0] });
    source.write('f');
    await tick();
    expect(String((await slices.next()).value)).toBe('f');
    expect(slow.skippedBytes).toBe('cde'.length);
  });

  test.each([
    ['a destination', (hub: FanoutHub) => hub.pipe(new Clogged({ highWaterMark: 1 }))],
    ['a loop', (hub: FanoutHub) => hub.subscribe()],
  ])('is dropped where it takes nothing at all: %s', async (_, join) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagBytes: 2, maxLagMs: 1_000, onLag: 'skip' });
    const stuck = join(hub);
    let passedMs = 0;
    for (; hub.subscribers > 0 && passedMs < 5_000; passedMs += 100) {
      source.write('ab');
      await tick();
      await vi.advanceTimersByTimeAsync(100);
    }
    // While nothing waited for the loop, because it skipped, there was nothing to take.
    expect(passedMs).toBeGreaterThanOrEqual(1_000);
    expect(passedMs).toBeLessThanOrEqual(1_600);
    expect(await stuck.ended).toMatchObject({ reason: 'lagged', deliveredBytes: 0 });
    expect(String((await stuck.ended).error)).toMatch(/bytes behind, and it has taken none for 1\d\d\d ms/);
    expect(hub.stats()).toMatchObject({ lagged: 1, subscribers: 0 });
  });

  test('and takes a little now and then stays, however slow it is', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagMs: 1_000, onLag: 'skip' });
    const taken: string[] = [];
    let take = () => {};
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk, _encoding, done) {
        take = () => {
          taken.push(String(chunk));
          done();
        };
      },
    });
    const { live } = hub.pipe(slow);
    for (let n = 0; n < 20; n++) {
      source.write(String.fromCharCode(97 + n));
      await tick();
      await vi.advanceTimersByTimeAsync(900);
      take();
      await tick();
    }
    await live;
    expect(taken.join('')).toBe('abcdefghijklmnopqrst');
    expect(hub.stats()).toMatchObject({ lagged: 0, subscribers: 1 });
  });

  test('counts what it misses until it ends, also if it never goes on', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagBytes: 1, onLag: 'skip' });
    const slow = hub.subscribe();
    for (const slice of ['ab', 'cd', 'ef']) source.write(slice);
    await tick();
    await slow[Symbol.asyncDispose]();
    source.write('gh');
    expect(await slow.ended).toMatchObject({ deliveredBytes: 0, skippedBytes: 4 });
  });

  test('over TCP stays with gaps between aligned runs; one that never reads goes', async () => {
    const unit = 1_024;
    const source = new ScriptedSource();
    await using hub = new FanoutHub({
      ...{ source: source.open, align: unit, maxLagBytes: 512 * unit, maxLagMs: 1_000, onLag: 'skip' },
    });
    const subscriptions: Subscription[] = [];
    await using server = await serve((_request, response) => void subscriptions.push(hub.pipe(response)));
    const client = async () => {
      const before = subscriptions.length;
      const client = new RawClient(server.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await eventually(() => expect(subscriptions.length).toBe(before + 1));
      return { client, subscription: subscriptions.at(-1) as Subscription };
    };
    const [{ client: healthy }, { client: slow, subscription }] = [await client(), await client()];
    const blocked = blockedClient(server.port);
    let skips = 0;
    hub.on('lag', (who) => {
      if (who === subscription) skips++;
    });
    let length = 0;
    const eventuallyWhileItGoesOn = (check: () => void) =>
      eventually(() => {
        source.write(numbered(length, 64 * unit));
        length += 64 * unit;
        check();
      });
    for (let gap = 0; gap < 3; gap++) {
      slow.socket.pause();
      await eventuallyWhileItGoesOn(() => expect(skips).toBeGreaterThan(gap));
      slow.socket.resume();
      await eventuallyWhileItGoesOn(() => expect(subscription.lagBytes).toBe(0));
    }
    await eventuallyWhileItGoesOn(() => expect(hub.stats()).toMatchObject({ lagged: 1, subscribers: 2, lags: [0, 0] }));
    source.stream.end();
    await Promise.all([healthy.closed, slow.closed]);
    const [all, some] = [healthy.body, slow.body];
    expect(all.equals(numbered(0, length))).toBe(true);
    let gaps = 0;
    let at = 0;
    for (let begin = 0; begin < some.length; begin += unit) {
      const run = some.subarray(begin, begin + unit);
      if (!all.subarray(at, at + unit).equals(run)) {
        at = all.indexOf(run, at);
        expect([at > 0, at % unit]).toEqual([true, 0]);
        gaps++;
      }
      at += unit;
    }
    expect(gaps).toBe(3);
    const { skippedBytes } = await subscription.ended;
    expect(some.length + skippedBytes).toBe(length);
    blocked.destroy();
  });
});

test('one that is too far behind in bytes and in time at once skips once', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const source = new ScriptedSource();
  const hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagBytes: 100, maxLagMs: 1_000, onLag: 'skip' });
  const lags: string[] = [];
  hub.on('lag', (_subscription, { message }) => lags.push(message));
  const waiting: (() => void)[] = [];
  hub.pipe(new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => void waiting.push(done) }));
  let written = 0;
  hub.pipe(
    new Writable({
      write(_chunk, _encoding, done) {
        // Its turn takes so long that the other one's time is over meanwhile.
        if (++written === 4) vi.advanceTimersByTime(700);
        done();
      },
    }),
  );
  const write = async () => {
    source.write('x'.repeat(60));
    await tick();
  };
  await write();
  await write();
  waiting.shift()?.();
  vi.advanceTimersByTime(1_400);
  await write();
  await write();
  expect(written).toBe(4);
  expect(lags).toHaveLength(1);
  expect(hub.stats()).toMatchObject({ skips: 1, lagged: 0 });
  void hub.close();
});
