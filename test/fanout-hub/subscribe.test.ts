import { describe, expect, test } from 'vitest';
import { SubscriberLaggedError } from '../../src/errors.ts';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import { eventually } from '../support/eventually.ts';
import { readableOf, ScriptedSource } from './support.ts';

describe('subscribe', () => {
  test('the loop gets the bytes and ends with the source', async () => {
    await using hub = new FanoutHub({ source: () => readableOf('one ', 'two'), sliceMs: 0 });
    const slices: string[] = [];
    const subscription = hub.subscribe();
    for await (const slice of subscription) slices.push(slice.toString());
    expect(slices.join('')).toBe('one two');
    expect(await subscription.ended).toEqual({ reason: 'source-ended', deliveredBytes: 7, skippedBytes: 0 });
  });

  test('breaking the loop leaves the hub', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const subscription = hub.subscribe();
    source.write('x');
    for await (const _slice of subscription) break;
    expect(await subscription.ended).toEqual({ reason: 'left', deliveredBytes: 1, skippedBytes: 0 });
    await eventually(() => expect(hub.state).toBe('idle'));
  });

  test('breaking it when the source has ended leaves what was queued, and counts only what was taken', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagMs: Infinity });
    const subscription = hub.subscribe();
    for (const slice of ['one', 'two', 'three']) {
      source.write(slice);
      await new Promise((resolve) => setImmediate(resolve));
    }
    source.stream.end();
    await eventually(() => expect(hub.subscribers).toBe(0));
    for await (const slice of subscription) {
      expect(String(slice)).toBe('one');
      break;
    }
    expect(await subscription.ended).toEqual({ reason: 'source-ended', deliveredBytes: 3, skippedBytes: 0 });
  });

  test('a signal ends a loop that waits', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const stop = new AbortController();
    const loop = (async () => {
      for await (const _slice of hub.subscribe({ signal: stop.signal }));
      return 'over';
    })();
    stop.abort();
    expect(await loop).toBe('over');
  });

  test('a failure is thrown after the slices that were queued', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
    const subscription = hub.subscribe();
    source.write('last words');
    await subscription.live;
    source.stream.destroy(new Error('gone'));
    await subscription.ended;
    const slices: string[] = [];
    const loop = async () => {
      for await (const slice of subscription) slices.push(slice.toString());
    };
    await expect(loop()).rejects.toThrow('gone');
    expect(slices).toEqual(['last words']);
  });

  test('one that is too slow for its own bound is dropped, the others go on', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
    const lagging: unknown[] = [];
    hub.on('lag', (subscription, error) => lagging.push(subscription, error));
    const slow = hub.subscribe({ maxLagBytes: 100 });
    const fast = hub.subscribe();
    for (let i = 0; i < 4; i++) {
      source.write(Buffer.alloc(60));
      await eventually(() => expect(hub.stats().bytesIn).toBe(60 * (i + 1)));
    }
    const { reason, error } = await slow.ended;
    expect(reason).toBe('lagged');
    expect(error).toBeInstanceOf(SubscriberLaggedError);
    expect(error).toMatchObject({ lagBytes: 120 });
    expect(lagging).toEqual([slow, error]);
    expect(hub.stats()).toMatchObject({ lagged: 1, subscribers: 1, lagBytes: 240 });
    await expect(slow[Symbol.asyncIterator]().next()).rejects.toBe(error);
    const iterator = fast[Symbol.asyncIterator]();
    for (let i = 0; i < 4; i++) expect((await iterator.next()).value).toHaveLength(60);
    expect(fast).toMatchObject({ lagBytes: 0, deliveredBytes: 240 });
  });

  test('a subscription has one consumer', async () => {
    await using hub = new FanoutHub({ source: () => readableOf('x') });
    const subscription = hub.subscribe();
    subscription[Symbol.asyncIterator]();
    expect(() => subscription[Symbol.asyncIterator]()).toThrow(/one consumer/);
  });

  test('all subscribers get the very same buffer', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const [first, second] = [hub.subscribe(), hub.subscribe()];
    source.write('x');
    const [one, two] = await Promise.all([first, second].map((each) => each[Symbol.asyncIterator]().next()));
    expect(one?.value).toBe(two?.value);
  });
});
