import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Gate } from '../../examples/publisher/channel/source-entry.ts';
import { SourceList } from '../../examples/publisher/channel/source-list.ts';
import type { Failure } from '../../examples/publisher/failure.ts';

const PREFER_MS = 60_000;
const FAILURE: Failure = { status: 502, title: 'The source could not be read', detail: 'it is gone' };
const BUSY = { ...FAILURE, status: 503, retryAfterMs: 10_000 } as const;

/** Guards that refuse the sources in `refused` for so long. */
function listOf(
  keys: string,
  { ranks = keys.split('').map((_, index) => index), refused = new Map<string, number>() } = {},
) {
  const gate: Gate = ({ key }) => {
    const retryAfterMs = refused.get(key);
    return retryAfterMs === undefined ? { allowed: true } : { allowed: false, why: 'cooldown', retryAfterMs };
  };
  const list = new SourceList(gate, () => PREFER_MS);
  list.update(keys.split('').map((key, index) => offered(key, ranks[index])));
  return list;
}

const offered = (key: string, rank = 0, url = `http://${key}/`) => ({ key, rank, source: { url } });
const named = (list: SourceList, key: string) => list.all.find((listed) => listed.key === key) as (typeof list.all)[0];
const order = (list: SourceList, now: number) =>
  list
    .candidates(now)
    .map((group) => group.map(({ key }) => key).join('='))
    .join(' ');

/** It is opened and gives something. */
function read(list: SourceList, key: string, now: number): void {
  list.opening(named(list, key));
  list.live(now);
}
const fail = (list: SourceList, key: string, now: number) => list.failed(named(list, key), FAILURE, now);

describe('of the sources of a channel', () => {
  it('the first is read while none has failed', () => {
    expect(order(listOf('abc'), 0)).toBe('a b c');
  });

  it('those of one rank are as good as each other', () => {
    expect(order(listOf('abcd', { ranks: [0, 0, 1, 2] }), 0)).toBe('a=b c d');
  });

  it.each<[string, number, string]>([
    ['stands behind all others at once', 0, 'b c a'],
    ['and until it has been well for preferAfterMs', PREFER_MS - 1, 'b c a'],
    ['and is first again then', PREFER_MS, 'a b c'],
  ])('one that failed %s', (_, now, expected) => {
    const list = listOf('abc');
    fail(list, 'a', 0);
    expect(order(list, now)).toBe(expected);
  });

  it('one that its guards refuse is none to try, and what keeps all of them is told by the least', () => {
    const refused = new Map([['a', 5_000]]);
    const list = listOf('ab', { refused });
    expect([order(list, 0), list.verdict(0)]).toEqual(['b', { allowed: true }]);
    refused.set('b', 3_000);
    expect([order(list, 0), list.verdict(0)]).toEqual(['', { allowed: false, why: 'cooldown', retryAfterMs: 3_000 }]);
  });

  it('one that others have is not tried until it says, later at longer intervals, and at once when all may have changed', () => {
    const list = listOf('ab');
    const waits = [1, 2, 3, 4, 5].map((_, index) => {
      const now = index * 1_000_000;
      list.busy(named(list, 'a'), BUSY, now);
      expect(order(list, now)).toBe('b');
      return (list.states(now)[0]?.retryAfterMs ?? 0) / 1_000;
    });
    expect(waits).toEqual([10, 20, 40, 60, 60]);
    list.askAtOnce(4_000_000);
    expect(order(list, 4_000_000)).toBe('b a');
  });

  it('one that asks for more than a minute is left alone for as long', () => {
    const list = listOf('a');
    list.busy(named(list, 'a'), { ...BUSY, retryAfterMs: 300_000 }, 0);
    expect(list.verdict(0)).toEqual({ allowed: false, why: 'busy', retryAfterMs: 300_000 });
    expect(list.verdict(300_000)).toEqual({ allowed: true });
  });
});

describe('while one is read', () => {
  it('there is another to go to as long as its guards allow it, and one that is well only if it has not failed', () => {
    const refused = new Map<string, number>();
    const list = listOf('ab', { refused });
    read(list, 'a', 0);
    expect([list.hasOther(0, 'any'), list.hasOther(0, 'well')]).toEqual([true, true]);
    fail(list, 'b', 0);
    expect([list.hasOther(0, 'any'), list.hasOther(0, 'well')]).toEqual([true, false]);
    refused.set('b', 1_000);
    expect(list.hasOther(0, 'any')).toBe(false);
  });

  it('one that others have is no other, even when it may be asked again', () => {
    const list = listOf('ab');
    read(list, 'a', 0);
    list.busy(named(list, 'b'), BUSY, 0);
    const now = PREFER_MS - 1;
    expect([order(list, now), list.hasOther(now, 'any'), list.hasOther(now, 'well')]).toEqual(['a b', false, false]);
  });

  it('the only one has no other', () => {
    const list = listOf('a');
    read(list, 'a', 0);
    expect(list.hasOther(0, 'any')).toBe(false);
  });

  it('a better one is due when it has been well for preferAfterMs, which begins anew when it is heard not to be', () => {
    const list = listOf('ab');
    fail(list, 'a', 0);
    read(list, 'b', 1_000);
    expect(list.better(1_000)).toMatchObject({ listed: { key: 'a' }, isDue: false });
    list.probed(named(list, 'a'), true, 30_000);
    list.probed(named(list, 'a'), false, 40_000);
    expect(list.better(PREFER_MS)).toMatchObject({ isDue: false });
    expect(list.better(40_000 + PREFER_MS)).toMatchObject({ listed: { key: 'a' }, isDue: true });
  });

  it('none is better than one of its rank', () => {
    const list = listOf('abc', { ranks: [0, 0, 1] });
    fail(list, 'a', 0);
    read(list, 'b', 0);
    expect(list.better(10 * PREFER_MS)).toBeUndefined();
  });

  it('its guards keep a better one from being due', () => {
    const list = listOf('ab', { refused: new Map([['a', 1_000]]) });
    fail(list, 'a', 0);
    read(list, 'b', 0);
    expect(list.better(PREFER_MS)).toMatchObject({ isDue: false });
  });

  it('one that fails right after the return to it has to be well for twice as long, and so on up to ten minutes', () => {
    const list = listOf('ab');
    let now = 0;
    fail(list, 'a', now);
    const waits: number[] = [];
    for (let times = 0; times < 6; times++) {
      read(list, 'b', now);
      const since = now;
      while (!list.better(now)?.isDue) now += 1_000;
      waits.push((now - since) / 1_000);
      read(list, 'a', now);
      fail(list, 'a', now + 500);
      now += 500;
    }
    expect(waits.map(Math.round)).toEqual([60, 120, 240, 480, 600, 600]);
  });

  it('one that was well for long enough after the return starts from preferAfterMs again', () => {
    const list = listOf('ab');
    fail(list, 'a', 0);
    read(list, 'b', 0);
    read(list, 'a', PREFER_MS);
    fail(list, 'a', PREFER_MS + 1);
    read(list, 'b', PREFER_MS + 1);
    read(list, 'a', 10 * PREFER_MS);
    fail(list, 'a', 20 * PREFER_MS);
    expect(order(list, 21 * PREFER_MS)).toBe('a b');
  });

  it('one that is forgiven starts from preferAfterMs again', () => {
    const list = listOf('ab');
    fail(list, 'a', 0);
    read(list, 'b', 0);
    read(list, 'a', PREFER_MS);
    fail(list, 'a', PREFER_MS + 1);
    list.forgive();
    read(list, 'a', PREFER_MS + 1);
    fail(list, 'a', PREFER_MS + 2);
    expect(order(list, 2 * PREFER_MS + 2)).toBe('a b');
  });

  it('one that fails because nothing else is left to read does not wait longer for that', () => {
    const list = listOf('ab');
    for (const now of [0, 1_000, 2_000]) {
      for (const key of ['a', 'b']) {
        list.opening(named(list, key));
        fail(list, key, now);
      }
    }
    expect(order(list, 2_000 + PREFER_MS)).toBe('a b');
  });
});

describe('a new list', () => {
  it('leaves alone what is still listed, whatever its order and its address', () => {
    const list = listOf('ab');
    fail(list, 'a', 0);
    read(list, 'b', 0);
    const change = list.update([offered('b', 0, 'http://elsewhere/'), offered('a', 1)]);
    expect(change).toMatchObject({ isReadingGone: false, forgotten: [] });
    expect([list.reading?.key, order(list, 0)]).toEqual(['b', 'b a']);
  });

  it('says that what is read is gone', () => {
    const list = listOf('ab');
    read(list, 'a', 0);
    expect(list.update([offered('b')])).toMatchObject({ isReadingGone: true });
  });

  it('forgets what was known of what is gone, and of what is somewhere else now', () => {
    const list = listOf('abc');
    for (const key of ['a', 'b', 'c']) fail(list, key, 0);
    const change = list.update([offered('a', 0, 'http://elsewhere/'), offered('c', 1)]);
    expect(change.forgotten.map(({ key }) => key)).toEqual(['b', 'a']);
    expect(change.hasNew).toBe(true);
    expect(list.states(0).map(({ state }) => state)).toEqual(['ok', 'failed']);
  });

  it('that gives the address of a source which has moved to another takes neither for the other', () => {
    const list = listOf('a');
    fail(list, 'a', 0);
    const change = list.update([offered('a', 0, 'http://elsewhere/'), offered('b', 1, 'http://a/')]);
    expect(list.all.map(({ key, number, source }) => [key, number, source.url])).toEqual([
      ['a', 1, 'http://elsewhere/'],
      ['b', 2, 'http://a/'],
    ]);
    expect([change.forgotten.length, change.hasNew, order(list, 0)]).toEqual([1, true, 'a b']);
  });

  it('of the same sources is no news', () => {
    const list = listOf('ab');
    expect(list.update([offered('a', 0), offered('b', 1)])).toEqual({
      forgotten: [],
      hasNew: false,
      isReadingGone: false,
    });
  });

  it('gives no two sources the same number, ever', () => {
    const list = listOf('ab');
    list.update([offered('c'), offered('b')]);
    list.update([offered('a'), offered('c'), offered('b')]);
    expect(list.all.map(({ key, number }) => `${key}${number}`)).toEqual(['a4', 'c3', 'b2']);
  });
});

type Step = { readonly what: 'fail' | 'busy' | 'read' | 'close' | 'wait'; readonly which: number; readonly ms: number };
const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom('fail' as const, 'busy' as const, 'read' as const, 'close' as const, 'wait' as const),
  which: fc.nat(3),
  ms: fc.nat(90_000),
});

describe('whatever happens to its sources', () => {
  it('every one that may be opened is listed once, and one that is behind never before one that is not', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const list = listOf('abcd', { ranks: [0, 1, 1, 2] });
        let now = 0;
        for (const { what, which, ms } of steps) {
          now += ms;
          const listed = list.all[which] as (typeof list.all)[0];
          if (what === 'fail') list.failed(listed, FAILURE, now);
          else if (what === 'busy') list.busy(listed, BUSY, now);
          else if (what === 'read') read(list, listed.key, now);
          else if (what === 'close') list.closed();
          const states = new Map(list.states(now).map((state) => [state.listed.key, state]));
          const keys = list.candidates(now).flatMap((group) => group.map(({ key }) => key));
          expect(new Set(keys).size).toBe(keys.length);
          expect(keys.length === 0).toBe(!list.verdict(now).allowed);
          const isBehind = keys.map((key) => (states.get(key)?.retryAfterMs ?? 0) > 0);
          expect(isBehind).toEqual([...isBehind].sort((a, b) => Number(a) - Number(b)));
          const better = list.better(now);
          if (better) expect(better.listed.rank).toBeLessThan(list.reading?.rank as number);
          expect(list.hasOther(now, 'any') || !list.hasOther(now, 'well')).toBe(true);
        }
      }),
    );
  });

  it('a channel that always takes what is first goes back to a source that fails at once ever more rarely', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000 }), (livesMs) => {
        const list = listOf('ab');
        let returns = 0;
        for (let now = 0; now < 3_600_000; now += 1_000) {
          const first = list.candidates(now)[0]?.[0];
          if (list.reading?.key === first?.key) continue;
          read(list, first?.key as string, now);
          if (first?.key !== 'a') continue;
          returns++;
          fail(list, 'a', now + livesMs);
          read(list, 'b', now + livesMs);
        }
        expect(returns).toBeLessThanOrEqual(11);
      }),
    );
  });
});
