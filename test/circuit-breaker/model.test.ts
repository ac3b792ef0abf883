import fc from 'fast-check';
import { CircuitBreaker, type CircuitBreakerOptions, CircuitOpenError, type Permit } from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const broken = new Error('broken');
type Ending = 'success' | 'failure' | 'cancelled';

interface Rules {
  readonly failureThreshold: number;
  readonly windowMs: number;
  readonly cooldownMs: (openings: number) => number;
  readonly halfOpenProbes: number;
  readonly failureRate?: number;
  readonly minimumCalls?: number;
}

interface ModelCall {
  readonly period: number;
  readonly expiresAt: number;
  isOver: boolean;
}

const NOBODY: Disposable = { [Symbol.dispose]() {} };

/** The contract word for word: a list of all results, read anew for each question. */
class PlainBreaker {
  state: 'closed' | 'open' | 'half-open' | 'isolated' = 'closed';
  readonly #rules: Rules;
  #period = 0;
  #openedAt = 0;
  #openings = 0;
  #succeeded = 0;
  #results: { at: number; failed: boolean }[] = [];
  #calls: ModelCall[] = [];

  constructor(rules: Rules) {
    this.#rules = rules;
  }

  look(now: number): void {
    const { cooldownMs } = this.#rules;
    for (;;) {
      const expiry = Math.min(...this.#running().map(({ expiresAt }) => expiresAt));
      if (this.state === 'open' && now >= this.#openedAt + cooldownMs(this.#openings)) this.#go('half-open');
      else if (this.state === 'half-open' && now >= expiry) this.#open(expiry);
      else return;
    }
  }

  /** In how many milliseconds a call may be let through, at the earliest or when the first probe has had its time. */
  retryAfterMs(now: number): number {
    if (this.state === 'isolated') return Number.POSITIVE_INFINITY;
    if (this.state === 'open') return this.#openedAt + this.#rules.cooldownMs(this.#openings) - now;
    return this.#isFull() ? Math.min(...this.#running().map(({ expiresAt }) => expiresAt)) - now : 0;
  }

  enter(now: number): ModelCall | undefined {
    if (this.state === 'open' || this.state === 'isolated' || this.#isFull()) return undefined;
    const limitMs = Math.max(1_000, this.#rules.cooldownMs(Math.max(1, this.#openings)));
    const expiresAt = this.state === 'half-open' ? now + limitMs : Number.POSITIVE_INFINITY;
    const call = { period: this.#period, expiresAt, isOver: false };
    this.#calls.push(call);
    return call;
  }

  settle(call: ModelCall, ending: Ending, now: number): void {
    if (call.isOver) return;
    call.isOver = true;
    if (call.period !== this.#period || ending === 'cancelled') return;
    if (this.state === 'closed') this.#count(ending === 'failure', now);
    else if (ending === 'failure') this.#open(now);
    else if (++this.#succeeded === this.#rules.halfOpenProbes) this.#go('closed');
  }

  record(failed: boolean, now: number): void {
    if (this.state === 'closed') this.#count(failed, now);
  }

  isolate(): void {
    this.#go('isolated');
  }

  close(): void {
    this.#go('closed');
  }

  /** As another process would go on with it. */
  restore(): void {
    for (const call of this.#calls) call.isOver = true;
    if (this.state === 'half-open') this.#succeeded = 0;
  }

  #count(failed: boolean, at: number): void {
    const { failureThreshold, failureRate = 2, minimumCalls, windowMs } = this.#rules;
    this.#results.push({ at, failed });
    const recent = this.#results.filter((result) => at - result.at < windowMs);
    const failures = recent.filter((result) => result.failed).length;
    const isFailing = failures >= failureThreshold && recent.length >= (minimumCalls ?? 0);
    if (isFailing || (recent.length >= (minimumCalls ?? 10) && failures / recent.length >= failureRate)) this.#open(at);
  }

  #running(): ModelCall[] {
    return this.#calls.filter(({ period, isOver }) => period === this.#period && !isOver);
  }

  #isFull(): boolean {
    return this.state === 'half-open' && this.#running().length + this.#succeeded >= this.#rules.halfOpenProbes;
  }

  #open(at: number): void {
    this.#openings++;
    this.#openedAt = at;
    this.#go('open');
  }

  #go(to: PlainBreaker['state']): void {
    if (to === 'closed' || to === 'isolated') this.#openings = 0;
    this.state = to;
    this.#period++;
    this.#succeeded = 0;
    this.#results = [];
  }
}

const rules: fc.Arbitrary<Rules> = fc
  .record({
    counted: fc.boolean(),
    failureThreshold: fc.constantFrom(1, 2, 4),
    windowMs: fc.constantFrom(500, 2_000),
    cooldownMs: fc.constantFrom(
      () => 0,
      () => 700,
      (openings: number) => 400 * openings,
    ),
    halfOpenProbes: fc.integer({ min: 1, max: 3 }),
    failureRate: fc.constantFrom(0.25, 0.5, 1),
    minimumCalls: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ counted, failureRate, minimumCalls, ...rest }) =>
    // The counts of a rate are forgotten in steps, which is not the subject here: none gets so old.
    counted ? { ...rest, failureRate, minimumCalls, windowMs: 1e12 } : rest,
  );

const which = fc.nat(20);
const ending = fc.constantFrom<Ending>('success', 'success', 'failure', 'cancelled');
const action = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.oneof(fc.nat(30), fc.nat(1_500)) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('run' as const, 'enter' as const) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('settle' as const), which, ending }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('record' as const), failed: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom('isolate' as const, 'release' as const, 'reset' as const, 'restart' as const),
    }),
  },
);
const actions = fc.array(action, { minLength: 20, maxLength: 80, size: 'max' });

/** A breaker and its model, on which the same is done. */
class Pair {
  breaker: CircuitBreaker;
  readonly #model: PlainBreaker;
  readonly #options: CircuitBreakerOptions;
  /** How each call that was let through can be ended, of both. */
  #calls: ((ending: Ending) => void | Promise<void>)[] = [];
  #isolations: Disposable[] = [];

  constructor(rules: Rules) {
    this.#options = rules;
    this.breaker = new CircuitBreaker(rules);
    this.#model = new PlainBreaker(rules);
  }

  async run(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const controller = new AbortController();
    const call = this.#model.enter(performance.now());
    const result = this.breaker.run(() => promise, { signal: controller.signal });
    if (!call) {
      const error = await result.catch((error: unknown) => error);
      expect(error).toBeInstanceOf(CircuitOpenError);
      const wait = this.#model.retryAfterMs(performance.now());
      expect((error as CircuitOpenError).retryAfterMs).toBe(Number.isFinite(wait) ? wait : undefined);
      return;
    }
    const outcome = result.catch((error: unknown) => error);
    let isOver = false;
    this.#calls.push(async (ending) => {
      if (isOver) return;
      isOver = true;
      if (ending === 'success') resolve('up');
      else if (ending === 'failure') reject(broken);
      else controller.abort('gone');
      this.#model.settle(call, ending, performance.now());
      expect(await outcome).toBe({ success: 'up', failure: broken, cancelled: 'gone' }[ending]);
    });
  }

  enter(): void {
    const call = this.#model.enter(performance.now());
    const permit = this.breaker.tryEnter();
    expect(permit !== undefined).toBe(call !== undefined);
    if (call && permit) this.#calls.push((ending) => this.#end(permit, call, ending));
  }

  #end(permit: Permit, call: ModelCall, ending: Ending): void {
    if (ending === 'success') permit.succeed();
    else if (ending === 'failure') permit.fail(broken);
    else permit[Symbol.dispose]();
    this.#model.settle(call, ending, performance.now());
  }

  async settle(which: number, ending: Ending): Promise<void> {
    const index = which % Math.max(1, this.#calls.length);
    // Half of them stay, to be ended once more: a permit does nothing then.
    await this.#calls[index]?.(ending);
    if (which % 2) this.#calls.splice(index, 1);
  }

  record(failed: boolean): void {
    if (failed) this.breaker.recordFailure(broken);
    else this.breaker.recordSuccess();
    this.#model.record(failed, performance.now());
  }

  isolate(): void {
    if (this.#isolations.length === 0) this.#model.isolate();
    this.#isolations.push(this.breaker.isolate());
  }

  release(): void {
    if (this.#isolations.at(-1) === NOBODY) return;
    const isolation = this.#isolations.pop();
    isolation?.[Symbol.dispose]();
    isolation?.[Symbol.dispose]();
    if (isolation && this.#isolations.length === 0) this.#model.close();
  }

  reset(): void {
    this.breaker.reset();
    this.#isolations = [];
    this.#model.close();
  }

  async restart(): Promise<void> {
    const snapshot = JSON.parse(JSON.stringify(this.breaker.snapshot()));
    await vi.advanceTimersByTimeAsync(50);
    this.breaker = CircuitBreaker.restore(snapshot, this.#options);
    this.#calls = [];
    // What isolated it is not known any more: it stays so until it is reset.
    this.#isolations = snapshot.state === 'isolated' ? [NOBODY] : [];
    this.#model.restore();
  }

  compare(): void {
    const now = performance.now();
    this.#model.look(now);
    const { state } = this.#model;
    expect(this.breaker.state).toBe(state === 'isolated' ? 'open' : state);
    expect(this.breaker.retryAfterMs).toBe(this.#model.retryAfterMs(now));
    expect(this.breaker.canRun()).toBe(this.breaker.retryAfterMs === 0);
  }
}

test('whatever is done to a breaker, it goes as the contract says, with call-counting rules and without', async () => {
  await fc.assert(
    fc.asyncProperty(rules, actions, async (rules, actions) => {
      const pair = new Pair(rules);
      for (const action of actions) {
        if (action.do === 'pass') await vi.advanceTimersByTimeAsync(action.ms);
        else if (action.do === 'settle') await pair.settle(action.which, action.ending);
        else if (action.do === 'record') pair.record(action.failed);
        else await pair[action.do]();
        pair.compare();
      }
    }),
    { numRuns: 400 },
  );
}, 60_000);

describe('what the function of `run` may do', () => {
  class OtherPromise<T> extends Promise<T> {}
  const thenable = (then: (resolve: (value: number) => void, reject: (error: unknown) => void) => void) => ({ then });
  const odd: Record<string, { fn: () => unknown; result?: unknown; error?: unknown }> = {
    'throw at once': {
      fn: () => {
        throw broken;
      },
      error: broken,
    },
    'throw nothing': {
      fn: () => {
        throw undefined;
      },
      error: undefined,
    },
    'return a thenable': { fn: () => thenable((resolve) => resolve(7)), result: 7 },
    'return a thenable that rejects': {
      fn: () => thenable((_, reject) => reject(broken)),
      error: broken,
    },
    'return a thenable that settles twice and then throws': {
      fn: () =>
        thenable((resolve, reject) => {
          resolve(7);
          reject(broken);
          throw broken;
        }),
      result: 7,
    },
    'return a thenable whose then can not be read': {
      fn: () => ({
        // biome-ignore lint/suspicious/noThenProperty: that is the point
        get then() {
          throw broken;
        },
      }),
      error: broken,
    },
    'return a promise of another class': { fn: () => OtherPromise.resolve(7), result: 7 },
    'reject a promise of another class': { fn: () => OtherPromise.reject(broken), error: broken },
    'return a promise of a promise that rejects': { fn: async () => Promise.reject(broken), error: broken },
  };

  test.each(Object.entries(odd))('%s', async (_, { fn, result, ...rest }) => {
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    try {
      for (const options of [undefined, {}, { signal: new AbortController().signal }]) {
        const breaker = new CircuitBreaker({ failureThreshold: 1 });
        const [outcome] = await Promise.allSettled([breaker.run(fn, options)]);
        const isFailure = 'error' in rest;
        expect(outcome).toEqual(
          isFailure ? { status: 'rejected', reason: rest.error } : { status: 'fulfilled', value: result },
        );
        expect(breaker.state).toBe(isFailure ? 'open' : 'closed');
      }
      vi.useRealTimers();
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      process.off('unhandledRejection', unhandled);
    }
    expect(unhandled).not.toHaveBeenCalled();
  });

  test('abort its own signal, which counts as nothing, and what it rejects with later is handled', async () => {
    const breaker = new CircuitBreaker({ failureThreshold: 1 });
    const controller = new AbortController();
    const { promise, reject } = Promise.withResolvers<never>();
    const run = breaker.run(
      () => {
        controller.abort('enough');
        return promise;
      },
      { signal: controller.signal },
    );
    await expect(run).rejects.toBe('enough');
    reject(broken);
    await vi.advanceTimersByTimeAsync(0);
    expect(breaker.state).toBe('closed');
  });

  test('open, isolate or reset the breaker that runs it: its own result is stale', async () => {
    for (const disturb of [
      (breaker: CircuitBreaker) => breaker.recordFailure(),
      (breaker: CircuitBreaker) => breaker.isolate(),
      (breaker: CircuitBreaker) => {
        breaker.isolate()[Symbol.dispose]();
      },
    ]) {
      const breaker = new CircuitBreaker({ failureThreshold: 1, failureRate: 1, minimumCalls: 1 });
      let state: string | undefined;
      const run = breaker.run(() => {
        disturb(breaker);
        ({ state } = breaker);
        throw broken;
      });
      await expect(run).rejects.toBe(broken);
      expect(breaker.state).toBe(state);
    }
  });

  test('call the breaker again: half-open it is refused, and its place is the outer call’s', async () => {
    const breaker = new CircuitBreaker({ failureThreshold: 1, cooldownMs: 1_000 });
    breaker.recordFailure();
    await vi.advanceTimersByTimeAsync(1_000);
    const inner = await breaker.run(() => breaker.run(() => 'inner').catch((error: unknown) => error));
    expect(inner).toBeInstanceOf(CircuitOpenError);
    expect(breaker.state).toBe('closed');
  });
});

test.each([
  ['without rules that count calls', {}],
  ['with a rule that counts calls', { failureRate: 0.5, minimumCalls: 1 }],
  ['with a rule that times calls', { slowCallMs: 60_000, minimumCalls: 1 }],
])('a call that began closed says nothing half-open, nor when it is closed again, %s', async (_, options) => {
  for (const ending of ['succeed', 'fail'] as const) {
    const breaker = new CircuitBreaker({ failureThreshold: 1, cooldownMs: 1_000, ...options });
    const [early, late] = [breaker.tryEnter(), breaker.tryEnter()];
    breaker.recordFailure();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(breaker.state).toBe('half-open');
    early?.[ending]();
    expect(breaker.state).toBe('half-open');
    await breaker.run(() => 'up');
    late?.[ending]();
    expect([breaker.state, breaker.snapshot().log.failureAgesMs]).toEqual(['closed', []]);
  }
});

test('all that began together and turned slow together cost one look, however many hang', () => {
  const breaker = new CircuitBreaker({ slowCallMs: 100, slowCallRate: 1, minimumCalls: 1_000_000 });
  for (let n = 0; n < 100_000; n++) breaker.tryEnter();
  vi.advanceTimersByTime(100);
  expect(breaker.state).toBe('closed');
  const { outcomes } = breaker.snapshot().log;
  expect(outcomes.map(({ calls, slow }) => [calls, slow])).toEqual([[100_000, 100_000]]);
});

test('at the instant 0 and at very late ones it is the same', () => {
  for (const start of [0, 2 ** 40]) {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(start);
    try {
      const breaker = new CircuitBreaker({ failureThreshold: 2, cooldownMs: 1_000, windowMs: 500 });
      breaker.tryEnter()?.fail();
      clock.mockReturnValue(start + 500);
      breaker.tryEnter()?.fail();
      expect(breaker.state).toBe('closed');
      clock.mockReturnValue(start + 999);
      breaker.tryEnter()?.fail();
      expect([breaker.state, breaker.retryAfterMs]).toEqual(['open', 1_000]);
      clock.mockReturnValue(start + 1_999);
      expect(breaker.state).toBe('half-open');
    } finally {
      clock.mockRestore();
    }
  }
});
