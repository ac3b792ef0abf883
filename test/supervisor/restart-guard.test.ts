import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { resolveOptions } from '../../src/supervisor/options.ts';
import { type Permission, RestartGuards, type RestartVerdict } from '../../src/supervisor/restart-guard.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const INTENSITY = 3;
const PERIOD_MS = 1_000;
const COOLDOWN_MS = 300;
const MIN_MS = 50;
const MAX_MS = 400;
const STABLE_MS = 250;

const options = {
  intensity: INTENSITY,
  periodMs: PERIOD_MS,
  cooldownMs: COOLDOWN_MS,
  stableAfterMs: STABLE_MS,
  backoff: { minMs: MIN_MS, maxMs: MAX_MS, jitter: 'none' },
  breaker: false,
} as const;

type Event = { at: number; id: string; what: 'start' | 'restart' | 'failed' | 'ended' | 'ready' };

/** All that happened, looked through from the begin for each question. */
class History {
  readonly #events: Event[] = [];

  add(event: Event): void {
    this.#events.push(event);
  }

  isRestart(id: string): boolean {
    const own = this.#events.filter((event) => event.id === id && event.what !== 'ready');
    return (
      own.findLast(({ what }) => what === 'failed' || what === 'ended')?.what === 'failed' &&
      own.at(-1)?.what === 'failed'
    );
  }

  isReady(id: string): boolean {
    return this.#events.findLast((event) => event.id === id)?.what === 'ready';
  }

  /** Those since it was last healthy: ready for `STABLE_MS` without an end. */
  failures(id: string, now: number): Event[] {
    const own = this.#events.filter((event) => event.id === id);
    const healthy = own.findLastIndex(({ what, at }, index) => {
      const until = own[index + 1]?.at ?? now;
      return what === 'ready' && until >= at + STABLE_MS;
    });
    return own.slice(healthy + 1).filter(({ what }) => what === 'failed');
  }

  verdict(id: string, now: number): RestartVerdict {
    if (!this.isRestart(id)) return { allowed: true };
    const restarts = this.#events.filter(({ what }) => what === 'restart');
    const own = restarts.findLast((event) => event.id === id)?.at ?? Number.NEGATIVE_INFINITY;
    if (own + COOLDOWN_MS > now) return { allowed: false, why: 'cooldown', retryAfterMs: own + COOLDOWN_MS - now };
    const within = restarts.filter(({ at }) => at > now - PERIOD_MS);
    if (within.length >= INTENSITY) {
      return { allowed: false, why: 'storm', retryAfterMs: (within.at(-INTENSITY) as Event).at + PERIOD_MS - now };
    }
    const failures = this.failures(id, now);
    const until = (failures.at(-1)?.at ?? 0) + Math.min(MIN_MS * 2 ** (failures.length - 1), MAX_MS);
    return until > now ? { allowed: false, why: 'backoff', retryAfterMs: until - now } : { allowed: true };
  }
}

const ids = fc.constantFrom('a', 'b', 'c', 'd');
const step = fc.oneof(
  fc.record({ do: fc.constant('begin' as const), id: ids }),
  fc.record({ do: fc.constantFrom('failed' as const, 'ended' as const, 'ready' as const), id: ids }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 500 }) }),
);

test('says of every moment what the whole history says', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const none = () => {};
      const guards = new RestartGuards(resolveOptions(options), {
        ...{ begun: none, refused: none, failed: none, storm: none, resumed: none, forgotten: none },
      });
      const history = new History();
      const runs = new Map<string, Permission>();
      const { signal: going } = new AbortController();
      for (const each of steps) {
        const at = performance.now();
        if (each.do === 'pass') {
          vi.advanceTimersByTime(each.ms);
          continue;
        }
        const { id } = each;
        const run = runs.get(id);
        expect(guards.canStart(id)).toEqual(history.verdict(id, at));
        if (each.do === 'begin' && !run) {
          const isRestart = history.isRestart(id);
          const expected = history.verdict(id, at);
          const begun = guards.begin(id, 1_000);
          if (!begun.allowed) {
            expect(begun).toEqual(expected);
            continue;
          }
          expect(expected).toEqual({ allowed: true });
          expect(begun.permission).toMatchObject({ isRestart, attempt: history.failures(id, at).length + 1 });
          runs.set(id, begun.permission);
          history.add({ at, id, what: isRestart ? 'restart' : 'start' });
        } else if (each.do !== 'begin' && run && !(each.do === 'ready' && history.isReady(id))) {
          if (each.do === 'failed') run.failed(new Error('broken'));
          else run[each.do](going);
          history.add({ at, id, what: each.do });
          if (each.do !== 'ready') runs.delete(id);
        }
      }
      guards[Symbol.dispose]();
    }),
    { numRuns: 500 },
  );
});

test('whatever fails, and however often it is asked, no more restarts than the intensity are in any period', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ id: ids, ms: fc.integer({ min: 0, max: 100 }) }), { maxLength: 200 }), (asks) => {
      const restarts: number[] = [];
      const none = () => {};
      const guards = new RestartGuards(resolveOptions({ ...options, cooldownMs: 0, backoff: { minMs: 0 } }), {
        ...{ refused: none, failed: none, storm: none, resumed: none, forgotten: none },
        begun: (_, isRestart) => void (isRestart && restarts.push(performance.now())),
      });
      for (const { id, ms } of asks) {
        vi.advanceTimersByTime(ms);
        const begun = guards.begin(id, 1_000);
        if (begun.allowed) begun.permission.failed(new Error('broken'));
        expect(restarts.filter((at) => at > performance.now() - PERIOD_MS).length).toBeLessThanOrEqual(INTENSITY);
      }
      guards[Symbol.dispose]();
    }),
  );
});
