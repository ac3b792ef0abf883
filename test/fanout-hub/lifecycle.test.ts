import { channel } from 'node:diagnostics_channel';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  ClosedError,
  SourceEndedError,
  SourceStalledError,
  SourceStartTimeoutError,
  SubscriberLimitError,
} from '../../src/errors.ts';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { FanoutSource } from '../../src/fanout-hub/options.ts';
import { eventually } from '../support/eventually.ts';
import { readableOf, ScriptedSource, Sponge } from './support.ts';

afterEach(() => {
  vi.useRealTimers();
});

/** Streams and promises stay real; clocks and timers are the test's. */
function fakeClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
}

describe('opening', () => {
  test('a hub opens nothing before its first subscriber', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    expect(hub).toMatchObject({ state: 'idle', subscribers: 0, name: 'fan-out hub' });
    expect(source.openings).toBe(0);
  });

  test('fifty subscribers at once share one opening, and all get its bytes', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const sponges = Array.from({ length: 50 }, () => new Sponge());
    const subscriptions = sponges.map((sponge) => hub.pipe(sponge));
    expect(hub).toMatchObject({ state: 'opening', subscribers: 50 });
    source.write('hello');
    await Promise.all(subscriptions.map(({ live }) => live));
    expect(hub.state).toBe('live');
    source.stream.end(' world');
    const ends = await Promise.all(subscriptions.map(({ ended }) => ended));
    expect(ends).toEqual(ends.map(() => ({ reason: 'source-ended', deliveredBytes: 11, skippedBytes: 0 })));
    expect(sponges.map(({ text }) => text)).toEqual(sponges.map(() => 'hello world'));
    expect(sponges.every(({ writableFinished }) => writableFinished)).toBe(true);
    expect(source.openings).toBe(1);
  });

  test('a source that subscribes to its own hub does not open a second one', async () => {
    let openings = 0;
    await using hub = new FanoutHub({
      source: () => {
        if (++openings === 1) hub.pipe(new Sponge());
        return readableOf('x');
      },
    });
    await hub.pipe(new Sponge()).ended;
    expect(openings).toBe(1);
  });

  test('all who wait share the error of a source that rejects; what it used is disposed, the last first', async () => {
    const disposed: string[] = [];
    const failure = new Error('no tuner');
    await using hub = new FanoutHub({
      source: async ({ use }) => {
        use({ [Symbol.dispose]: () => disposed.push('first') });
        use({ [Symbol.asyncDispose]: async () => void disposed.push('second') });
        throw failure;
      },
    });
    const failures: unknown[] = [];
    hub.on('failure', (error) => failures.push(error));
    const sponges = [new Sponge(), new Sponge()];
    const subscriptions = sponges.map((sponge) => hub.pipe(sponge));
    for (const { live, ended } of subscriptions) {
      await expect(live).rejects.toBe(failure);
      expect(await ended).toEqual({ reason: 'source-failed', deliveredBytes: 0, skippedBytes: 0, error: failure });
    }
    await eventually(() => expect(hub.state).toBe('idle'));
    expect(disposed).toEqual(['second', 'first']);
    expect(failures).toEqual([failure]);
    expect(sponges.some(({ destroyed, writableEnded }) => destroyed || writableEnded)).toBe(false);
  });

  test.each<[string, FanoutSource, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('thrown at once');
      },
      /thrown at once/,
    ],
    ['returns nothing', () => undefined as never, /source must return a Readable/],
    [
      'returns a handle without a pipe',
      () => ({ stdout: null, closed: Promise.resolve(), async [Symbol.asyncDispose]() {} }),
      /stdout is null/,
    ],
    ['gives strings', () => Readable.from(['text'], { objectMode: true }), /gave a string, not bytes/],
    ['uses what can not be disposed', ({ use }) => use({} as never), /use\(\) takes a resource/],
    ['gives a stream that was destroyed already', () => new PassThrough().destroy(), /Premature close/],
    ['gives a stream that ends without a byte', () => Readable.from([]), /ended without a byte/],
  ])('a source that %s fails its subscribers and leaves the hub idle', async (_what, source, message) => {
    await using hub = new FanoutHub({ source });
    const { reason, error } = await hub.pipe(new Sponge()).ended;
    expect(reason).toBe('source-failed');
    expect(String(error)).toMatch(message);
    await eventually(() => expect(hub.state).toBe('idle'));
  });

  test('a source that gives no byte in time is aborted', async () => {
    fakeClock();
    const source = new ScriptedSource();
    const hub = new FanoutHub({ name: 'news', source: source.open, startTimeoutMs: 500 });
    const { ended } = hub.pipe(new Sponge());
    await vi.advanceTimersByTimeAsync(499);
    expect(hub.state).toBe('opening');
    await vi.advanceTimersByTimeAsync(1);
    const { reason, error } = await ended;
    expect(reason).toBe('source-failed');
    expect(error).toBeInstanceOf(SourceStartTimeoutError);
    expect(String(error)).toContain('news gave no byte within 500 ms');
    expect(source.signal?.aborted).toBe(true);
    expect(source.stream.destroyed).toBe(true);
  });

  test('the start is timed from the call of the source, its own waiting included', async () => {
    fakeClock();
    const hub = new FanoutHub({ source: () => new Promise(() => {}), startTimeoutMs: 500 });
    const { ended } = hub.pipe(new Sponge());
    await vi.advanceTimersByTimeAsync(500);
    expect((await ended).error).toBeInstanceOf(SourceStartTimeoutError);
    expect(hub.state).toBe('closing');
  });
});

describe('leaving', () => {
  test('the last to leave during the opening aborts it; what it still opens is disposed', async () => {
    const opened = Promise.withResolvers<PassThrough>();
    let aborted: AbortSignal | undefined;
    await using hub = new FanoutHub({
      source: ({ signal }) => {
        aborted = signal;
        return opened.promise;
      },
    });
    const first = hub.pipe(new Sponge());
    const second = hub.pipe(new Sponge());
    await first[Symbol.asyncDispose]();
    expect(hub).toMatchObject({ state: 'opening', subscribers: 1 });
    await second[Symbol.asyncDispose]();
    expect(hub.state).toBe('closing');
    expect(aborted?.aborted).toBe(true);
    const stream = new PassThrough();
    opened.resolve(stream);
    await eventually(() => expect(hub.state).toBe('idle'));
    expect(stream.destroyed).toBe(true);
    expect(await first.ended).toEqual({ reason: 'left', deliveredBytes: 0, skippedBytes: 0 });
  });

  test('after the last one the source is aborted, closed, and what it used disposed', async () => {
    const order: string[] = [];
    const source = new ScriptedSource();
    await using hub = new FanoutHub({
      source: (context) => {
        context.use({ [Symbol.dispose]: () => order.push('released') });
        context.signal.addEventListener('abort', () => order.push('aborted'));
        const stream = source.open(context) as PassThrough;
        return stream.once('close', () => order.push('closed'));
      },
    });
    const subscription = hub.pipe(new Sponge());
    source.write('x');
    await subscription.live;
    await subscription[Symbol.asyncDispose]();
    await eventually(() => expect(hub.state).toBe('idle'));
    expect(order).toEqual(['aborted', 'closed', 'released']);
  });

  test('who comes while the source is closing gets a fresh one, never the dying', async () => {
    const release = Promise.withResolvers<void>();
    const source = new ScriptedSource();
    await using hub = new FanoutHub({
      source: (context) => {
        if (source.openings === 0) context.use({ [Symbol.asyncDispose]: () => release.promise });
        return source.open(context);
      },
    });
    const first = hub.pipe(new Sponge());
    source.write('old');
    await first.live;
    await first[Symbol.asyncDispose]();
    const sponge = new Sponge();
    const second = hub.pipe(sponge);
    expect(hub).toMatchObject({ state: 'closing', subscribers: 1 });
    expect(source.openings).toBe(1);
    release.resolve();
    await eventually(() => expect(source.openings).toBe(2));
    source.write('new');
    await second.live;
    source.stream.end();
    await second.ended;
    expect(sponge.text).toBe('new');
  });

  test('a handle whose disposal returns early is waited for until its closed', async () => {
    const closed = Promise.withResolvers<void>();
    const stdout = new PassThrough();
    await using hub = new FanoutHub({
      source: () => ({ stdout, closed: closed.promise, async [Symbol.asyncDispose]() {} }),
    });
    const subscription = hub.pipe(new Sponge());
    stdout.write('x');
    await subscription.live;
    await subscription[Symbol.asyncDispose]();
    await new Promise((resolve) => setImmediate(resolve));
    expect([hub.state, stdout.destroyed]).toEqual(['closing', false]);
    closed.resolve();
    await eventually(() => expect(hub.state).toBe('idle'));
    expect(stdout.destroyed).toBe(true);
  });

  test('what can not be disposed is a failure, and the hub goes on', async () => {
    const stuck = new Error('lock file vanished');
    const failures: unknown[] = [];
    await using hub = new FanoutHub({
      source: ({ use }) => {
        use({ [Symbol.asyncDispose]: () => Promise.reject(stuck) });
        return readableOf('x');
      },
    });
    hub.on('failure', (error) => failures.push(error));
    await hub.pipe(new Sponge()).ended;
    await eventually(() => expect(hub.state).toBe('idle'));
    expect(failures).toEqual([stuck]);
  });

  test('who waits for a source that never closes is failed in time, and the hub stays closing', async () => {
    fakeClock();
    const hub = new FanoutHub({ source: () => new Promise(() => {}), startTimeoutMs: 500 });
    await hub.pipe(new Sponge())[Symbol.asyncDispose]();
    const { ended } = hub.pipe(new Sponge());
    await vi.advanceTimersByTimeAsync(500);
    expect((await ended).error).toBeInstanceOf(SourceStartTimeoutError);
    expect(hub).toMatchObject({ state: 'closing', subscribers: 0 });
  });

  test('the source lingers for closeAfterMs and serves whoever comes meanwhile', async () => {
    fakeClock();
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, closeAfterMs: 1000, sliceMs: 0 });
    const first = hub.pipe(new Sponge());
    source.write('1');
    await first.live;
    await first[Symbol.asyncDispose]();
    await vi.advanceTimersByTimeAsync(999);
    expect(hub.state).toBe('live');
    const sponge = new Sponge();
    const second = hub.pipe(sponge);
    await vi.advanceTimersByTimeAsync(5000);
    source.write('2');
    await second.live;
    expect([source.openings, sponge.text]).toEqual([1, '2']);
    await second[Symbol.asyncDispose]();
    await vi.advanceTimersByTimeAsync(1000);
    expect(source.signal?.aborted).toBe(true);
  });

  test('a signal leaves; one that has aborted opens nothing', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const stop = new AbortController();
    const sponge = new Sponge();
    const { live, ended } = hub.pipe(sponge, { signal: stop.signal });
    const reason = new Error('enough');
    stop.abort(reason);
    expect(await ended).toMatchObject({ reason: 'left', error: reason });
    await expect(live).rejects.toBe(reason);
    expect(sponge.destroyed).toBe(false);
    await eventually(() => expect(hub.state).toBe('idle'));
    expect(await hub.pipe(sponge, { signal: stop.signal }).ended).toMatchObject({ reason: 'left', error: reason });
    expect(source.openings).toBe(1);
  });

  test('a destination that is destroyed or ended leaves at once and opens nothing', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    expect((await hub.pipe(new Sponge().destroy()).ended).reason).toBe('left');
    expect((await hub.pipe(new Sponge().end()).ended).reason).toBe('left');
    expect(source.openings).toBe(0);
  });

  test.each<[string, (sponge: Sponge) => void]>([
    ['is destroyed', (sponge) => sponge.destroy()],
    ['fails', (sponge) => sponge.destroy(new Error('EPIPE'))],
    ['is ended by its owner', (sponge) => sponge.end()],
  ])('a destination that %s leaves, the others go on', async (_what, stop) => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
    const [leaving, staying] = [new Sponge(), new Sponge()];
    const subscription = hub.pipe(leaving);
    hub.pipe(staying);
    source.write('1');
    await subscription.live;
    stop(leaving);
    expect(await subscription.ended).toMatchObject({ reason: 'left', deliveredBytes: 1 });
    source.write('2');
    await eventually(() => expect(staying.text).toBe('12'));
    expect(hub.subscribers).toBe(1);
  });

  test('a destination that throws does not keep the slice from the others', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const thrower = Object.assign(new Sponge(), {
      write() {
        throw new Error('broken write');
      },
    });
    const { ended } = hub.pipe(thrower);
    const sponge = new Sponge();
    hub.pipe(sponge);
    source.write('x');
    expect(await ended).toMatchObject({ reason: 'left', error: new Error('broken write') });
    await eventually(() => expect(sponge.text).toBe('x'));
  });
});

describe('the end of a live source', () => {
  test('an error destroys the destinations with it and reaches every subscriber', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
    const sponge = new Sponge();
    const { live, ended } = hub.pipe(sponge);
    source.write('x');
    await live;
    const failure = new Error('cable pulled');
    source.stream.destroy(failure);
    expect(await ended).toEqual({ reason: 'source-failed', deliveredBytes: 1, skippedBytes: 0, error: failure });
    expect(sponge).toMatchObject({ destroyed: true, errored: failure });
    await eventually(() => expect(hub.state).toBe('idle'));
  });

  test('a source that stalls fails after stallTimeoutMs, counted from its last byte', async () => {
    fakeClock();
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, stallTimeoutMs: 1000, startTimeoutMs: 100, sliceMs: 0 });
    const { live, ended } = hub.pipe(new Sponge());
    source.write('1');
    await live;
    await vi.advanceTimersByTimeAsync(900);
    source.write('2');
    await vi.advanceTimersByTimeAsync(999);
    expect(hub.state).toBe('live');
    await vi.advanceTimersByTimeAsync(1);
    expect((await ended).error).toBeInstanceOf(SourceStalledError);
    expect(source.signal?.aborted).toBe(true);
  });

  test('who joined too late for a byte is told by an error and left untouched', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 1000 });
    const first = hub.pipe(new Sponge());
    source.write('x'.repeat(70_000));
    await first.live;
    const late = new Sponge();
    const { ended } = hub.pipe(late);
    source.stream.end();
    const { reason, error } = await ended;
    expect(reason).toBe('source-ended');
    expect(error).toBeInstanceOf(SourceEndedError);
    expect(late.writableEnded).toBe(false);
  });

  test('with reopen the subscribers stay and get the next source', async () => {
    const asked: unknown[] = [];
    const source = new ScriptedSource();
    await using hub = new FanoutHub({
      source: source.open,
      sliceMs: 0,
      reopen: (end) => {
        asked.push(end);
        return { allowed: true };
      },
    });
    const sponge = new Sponge();
    hub.pipe(sponge);
    source.write('first,');
    await eventually(() => expect(hub.state).toBe('live'));
    source.stream.end();
    await eventually(() => expect(source.openings).toBe(2));
    source.write('second');
    await eventually(() => expect(sponge.text).toBe('first,second'));
    const failure = new Error('gone');
    source.stream.destroy(failure);
    await eventually(() => expect(source.openings).toBe(3));
    expect(asked).toEqual([{ openings: 1 }, { openings: 2, error: failure }]);
  });

  test('a refused reopen is asked again after retryAfterMs; false ends the subscribers with the cause', async () => {
    fakeClock();
    const answers = [{ allowed: false, retryAfterMs: 300 }, false] as const;
    let asked = 0;
    const source = new ScriptedSource();
    const hub = new FanoutHub({ source: source.open, reopen: () => answers[asked++] ?? false });
    const sponge = new Sponge();
    const { live, ended } = hub.pipe(sponge);
    source.write('x');
    await vi.advanceTimersByTimeAsync(50);
    await live;
    const failure = new Error('gone');
    source.stream.destroy(failure);
    await vi.advanceTimersByTimeAsync(0);
    expect([asked, hub.state]).toEqual([1, 'opening']);
    await vi.advanceTimersByTimeAsync(299);
    expect(asked).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(await ended).toMatchObject({ reason: 'source-failed', error: failure });
    expect([asked, hub.state]).toEqual([2, 'idle']);
  });

  test('a subscriber that leaves while a refusal is waited out makes the hub idle', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, reopen: () => ({ allowed: false, retryAfterMs: 60_000 }) });
    const subscription = hub.pipe(new Sponge());
    source.write('x');
    await subscription.live;
    source.stream.end();
    await eventually(() => expect(hub.state).toBe('opening'));
    await subscription[Symbol.asyncDispose]();
    await eventually(() => expect(hub.state).toBe('idle'));
    hub.pipe(new Sponge());
    expect(source.openings).toBe(2);
  });
});

describe('restart', () => {
  test('the subscribers stay and get a fresh source, the old one is gone before', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({
      sliceMs: 0,
      source: (context) => {
        expect(source.streams.every(({ destroyed }) => destroyed)).toBe(true);
        return source.open(context);
      },
    });
    const sponge = new Sponge();
    const { live } = hub.pipe(sponge);
    source.write('old,');
    await live;
    const restarted = hub.restart('stuck picture');
    expect(source.signal?.reason).toBe('stuck picture');
    await eventually(() => expect(source.openings).toBe(2));
    source.write('new');
    await restarted;
    await eventually(() => expect(sponge.text).toBe('old,new'));
    expect(hub.subscribers).toBe(1);
  });

  test('what the old source left of a unit does not shift the units of the new one', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, align: 4, sliceMs: 0 });
    const sponge = new Sponge();
    const { live } = hub.pipe(sponge);
    source.write('olds' + 'tu');
    await live;
    const restarted = hub.restart();
    await eventually(() => expect(source.openings).toBe(2));
    source.write('news' + 'rest');
    await restarted;
    await eventually(() => expect(sponge.text).toBe('oldsnewsrest'));
  });

  test('it rejects with the error of the new opening, which the subscribers share', async () => {
    const failure = new Error('no tuner any more');
    const source = new ScriptedSource();
    await using hub = new FanoutHub({
      source: (context) => {
        if (source.openings > 0) throw failure;
        return source.open(context);
      },
    });
    const { live, ended } = hub.pipe(new Sponge());
    source.write('x');
    await live;
    await expect(hub.restart()).rejects.toBe(failure);
    expect(await ended).toMatchObject({ reason: 'source-failed', error: failure });
  });

  test('it does not wait until reopen allows it', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, reopen: () => ({ allowed: false, retryAfterMs: 60_000 }) });
    const { live } = hub.pipe(new Sponge());
    source.write('x');
    await live;
    source.stream.end();
    await eventually(() => expect(hub.state).toBe('opening'));
    const restarted = hub.restart();
    expect(source.openings).toBe(2);
    source.write('y');
    await restarted;
  });

  test('it resolves at once for an idle hub and rejects for a closed one', async () => {
    const hub = new FanoutHub({ source: () => readableOf('x') });
    await hub.restart();
    await hub.close();
    await expect(hub.restart()).rejects.toThrow(ClosedError);
  });
});

describe('close', () => {
  test('it ends everyone, waits for the teardown, and refuses who comes later', async () => {
    const release = Promise.withResolvers<void>();
    const source = new ScriptedSource();
    const hub = new FanoutHub({
      source: (context) => {
        context.use({ [Symbol.asyncDispose]: () => release.promise });
        return source.open(context);
      },
    });
    const sponge = new Sponge();
    const subscription = hub.pipe(sponge);
    source.write('x');
    await subscription.live;
    let closed = false;
    const closing = hub.close('bye').then(() => (closed = true));
    expect(hub.close()).toBe(hub.close());
    expect(await subscription.ended).toEqual({ reason: 'closed', deliveredBytes: 1, skippedBytes: 0 });
    expect(sponge.writableFinished).toBe(true);
    expect(source.signal?.reason).toBe('bye');
    expect([closed, hub.state]).toEqual([false, 'closing']);
    release.resolve();
    await closing;
    expect(hub).toMatchObject({ state: 'closed', subscribers: 0 });
    const { reason, error } = await hub.pipe(new Sponge()).ended;
    expect(reason).toBe('closed');
    expect(error).toBeInstanceOf(ClosedError);
    expect(source.openings).toBe(1);
  });

  test('who waits for the first byte is left untouched, with a ClosedError', async () => {
    const hub = new FanoutHub({ source: () => new PassThrough() });
    const sponge = new Sponge();
    const { live, ended } = hub.pipe(sponge);
    await hub.close();
    await expect(live).rejects.toThrow(ClosedError);
    expect(await ended).toMatchObject({ reason: 'closed', error: expect.any(ClosedError) });
    expect(sponge.writableEnded).toBe(false);
  });

  test('it works from every state, also from a listener of open', async () => {
    await new FanoutHub({ source: () => readableOf('x') }).close();
    const hub = new FanoutHub({ source: () => new PassThrough() });
    hub.once('open', () => void hub.close());
    expect((await hub.pipe(new Sponge()).ended).reason).toBe('closed');
    await eventually(() => expect(hub.state).toBe('closed'));
  });
});

test('more than maxSubscribers are refused, until one leaves', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, maxSubscribers: 1 });
  const first = hub.pipe(new Sponge());
  const refused = await hub.pipe(new Sponge()).ended;
  expect(refused).toMatchObject({ reason: 'closed', error: expect.any(SubscriberLimitError) });
  await first[Symbol.asyncDispose]();
  expect(hub.pipe(new Sponge())).toBeDefined();
  expect(hub.subscribers).toBe(1);
});

test('what happens is told by events and on diagnostics channels, in order', async () => {
  const told: string[] = [];
  const events = ['open', 'live', 'idle', 'failure'] as const;
  const names = ['created', ...events, 'closed'];
  const listeners = names.map((name) => {
    const listener = (message: unknown) => {
      if ((message as { hub: FanoutHub }).hub.name === 'told') told.push(`channel ${name}`);
    };
    channel(`holdfast:fanout-hub:${name}`).subscribe(listener);
    return () => channel(`holdfast:fanout-hub:${name}`).unsubscribe(listener);
  });
  const source = new ScriptedSource();
  const hub = new FanoutHub({ name: 'told', source: source.open });
  for (const name of events) hub.on(name, () => told.push(name));
  const { live, ended } = hub.pipe(new Sponge());
  source.write('x');
  await live;
  source.stream.destroy(new Error('gone'));
  await ended;
  await eventually(() => expect(hub.state).toBe('idle'));
  await hub.close();
  for (const stop of listeners) stop();
  const pairs = ['open', 'live', 'failure', 'idle'].flatMap((name) => [`channel ${name}`, name]);
  expect(told).toEqual(['channel created', ...pairs, 'channel closed']);
  expect(hub.stats()).toMatchObject({ openings: 1, failures: 1, bytesIn: 1, bytesOut: 1, slices: 1, subscribers: 0 });
});
