import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { CircuitBreaker, type CircuitBreakerOptions, CircuitOpenError, ClosedError } from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Uncaught } from '../support/uncaught.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const broken = new Error('broken');
const fails = () => Promise.reject(broken);

/** One that has just opened. */
function opened(options: CircuitBreakerOptions = {}): CircuitBreaker {
  const breaker = new CircuitBreaker({ name: 'tuner', failureThreshold: 1, cooldownMs: 1_000, ...options });
  breaker.recordFailure(broken);
  return breaker;
}

describe('run', () => {
  test('passes on what the function returns, and what it throws', async () => {
    const breaker = new CircuitBreaker();
    expect(await breaker.run(() => 7)).toBe(7);
    expect(await breaker.run(async () => 8)).toBe(8);
    await expect(breaker.run(fails)).rejects.toBe(broken);
    const thrower = () => {
      throw broken;
    };
    await expect(breaker.run(thrower)).rejects.toBe(broken);
  });

  test('opens the circuit after five failures and refuses for two minutes', async () => {
    const breaker = new CircuitBreaker({ name: 'tuner 5' });
    for (let n = 0; n < 5; n++) await expect(breaker.run(fails)).rejects.toBe(broken);
    let isCalled = false;
    await vi.advanceTimersByTimeAsync(20_000);
    const error = await breaker.run(() => (isCalled = true)).catch((error) => error);
    expect(isCalled).toBe(false);
    expect(error).toBeInstanceOf(CircuitOpenError);
    expect(error).toMatchObject({
      code: 'HOLDFAST_CIRCUIT_OPEN',
      retryable: true,
      retryAfterMs: 100_000,
      cause: broken,
    });
    expect(error.message).toBe('the circuit tuner 5 lets no call through for 100000 ms');
    await vi.advanceTimersByTimeAsync(100_000);
    expect(breaker.state).toBe('half-open');
    expect(await breaker.run(() => 'up')).toBe('up');
    expect(breaker.state).toBe('closed');
  });

  test('half-open lets only one call through at a time', async () => {
    const breaker = opened();
    await vi.advanceTimersByTimeAsync(1_000);
    const { promise, resolve } = Promise.withResolvers<string>();
    const probe = breaker.run(() => promise);
    await expect(breaker.run(() => 'second')).rejects.toMatchObject({ retryAfterMs: 1_000 });
    expect(breaker.canRun()).toBe(false);
    resolve('first');
    expect(await probe).toBe('first');
    expect(breaker.state).toBe('closed');
  });

  test('ends at once when its caller aborts, which says nothing about what is called', async () => {
    const breaker = opened();
    await vi.advanceTimersByTimeAsync(1_000);
    const controller = new AbortController();
    let given: AbortSignal | undefined;
    const probe = breaker.run(({ signal }) => new Promise(() => (given = signal)), { signal: controller.signal });
    controller.abort('gone');
    await expect(probe).rejects.toBe('gone');
    expect(given?.reason).toBe('gone');
    expect(breaker.state).toBe('half-open');
    expect(breaker.canRun()).toBe(true);
  });

  test('counts a time-out by its signal as the failure that it is', async () => {
    const breaker = new CircuitBreaker({ failureThreshold: 1 });
    const reason = new DOMException('too slow', 'TimeoutError'); // as that of AbortSignal.timeout
    const controller = new AbortController();
    const call = breaker.run(() => new Promise(() => {}), { signal: controller.signal });
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(breaker.state).toBe('open');
  });

  test('does not call anything if it was aborted before', async () => {
    const breaker = new CircuitBreaker();
    const called = vi.fn();
    await expect(breaker.run(called, { signal: AbortSignal.abort('before') })).rejects.toBe('before');
    expect(called).not.toHaveBeenCalled();
  });

  test('gives a signal that never aborts where the caller has none', async () => {
    const signals = await new CircuitBreaker().run((context) => [context.signal, context.signal]);
    expect(signals[0]).toBeInstanceOf(AbortSignal);
    expect(signals[0]).toBe(signals[1]);
  });

  test('counts what isFailure says is none as a success', async () => {
    const breaker = opened({ isFailure: (error) => error === broken });
    await vi.advanceTimersByTimeAsync(1_000);
    const notFound = new Error('not found');
    await expect(breaker.run(() => Promise.reject(notFound))).rejects.toBe(notFound);
    expect(breaker.state).toBe('closed');
  });

  test('passes on what isFailure throws, and is not wedged by it', async () => {
    const wrong = new TypeError('isFailure is wrong');
    const isFailure = (error: unknown) => {
      if (error === broken) return true;
      throw wrong;
    };
    const breaker = opened({ isFailure });
    await vi.advanceTimersByTimeAsync(1_000);
    await expect(breaker.run(() => Promise.reject(new Error('other')))).rejects.toBe(wrong);
    expect(breaker.canRun()).toBe(true);
  });
});

describe('a permit', () => {
  test('counts how the call went, once', () => {
    const breaker = new CircuitBreaker({ failureThreshold: 2 });
    const permit = breaker.tryEnter();
    permit?.fail(broken);
    permit?.fail(broken);
    permit?.succeed();
    expect(breaker.state).toBe('closed');
    breaker.tryEnter()?.fail();
    expect(breaker.state).toBe('open');
    expect(breaker.tryEnter()).toBeUndefined();
  });

  test('that is disposed of gives its place back', async () => {
    const breaker = opened();
    await vi.advanceTimersByTimeAsync(1_000);
    {
      using permit = breaker.tryEnter();
      expect(permit).toBeDefined();
      expect(breaker.tryEnter()).toBeUndefined();
    }
    expect(breaker.tryEnter()).toBeDefined();
  });

  test('that is dropped can not wedge it', async () => {
    const breaker = opened();
    await vi.advanceTimersByTimeAsync(1_000);
    breaker.tryEnter();
    expect(breaker.canRun()).toBe(false);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(breaker.state).toBe('open');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await breaker.run(() => 'up')).toBe('up');
    expect(breaker.state).toBe('closed');
  });
});

describe('by hand', () => {
  test('canRun, recordSuccess and recordFailure do while it is closed', () => {
    const breaker = new CircuitBreaker({ failureThreshold: 2, isFailure: (error) => error === broken });
    expect(breaker.canRun()).toBe(true);
    breaker.recordFailure(broken);
    breaker.recordSuccess();
    breaker.recordFailure(new Error('not found'));
    expect(breaker.canRun()).toBe(true);
    breaker.recordFailure(broken);
    expect([breaker.canRun(), breaker.retryAfterMs]).toEqual([false, 120_000]);
  });

  test('an isolation keeps it open until the last is over', async () => {
    const breaker = new CircuitBreaker({ name: 'tuner' });
    const [first, second] = [breaker.isolate(), breaker.isolate()];
    await vi.advanceTimersByTimeAsync(1e9);
    expect([breaker.state, breaker.retryAfterMs]).toEqual(['open', Number.POSITIVE_INFINITY]);
    const error = await breaker.run(() => 1).catch((error) => error);
    expect(error.message).toBe(
      'the circuit tuner lets no call through until it is released or reset, or its probe has ended',
    );
    expect('retryAfterMs' in error).toBe(false);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    expect(breaker.state).toBe('open');
    second[Symbol.dispose]();
    expect(breaker.state).toBe('closed');
  });

  test('a reset closes it and forgets all, isolations as well', () => {
    const breaker = opened({ failureThreshold: 2 });
    const isolation = breaker.isolate();
    breaker.reset();
    expect(breaker.state).toBe('closed');
    breaker.recordFailure();
    isolation[Symbol.dispose]();
    breaker.recordFailure();
    expect(breaker.state).toBe('open');
  });
});

test('what refuses a call tells what it was opened by, and of nothing that was before', async () => {
  const breaker = new CircuitBreaker({ slowCallMs: 10, minimumCalls: 1, cooldownMs: 1_000 });
  breaker.recordFailure(new Error('last year'));
  await vi.advanceTimersByTimeAsync(10 ** 7);
  void breaker.run(() => new Promise(() => {})).catch(() => {});
  await vi.advanceTimersByTimeAsync(11);
  expect(await breaker.run(() => 1).catch((error) => error)).not.toHaveProperty('cause');

  const failure = new Error('refused');
  await vi.advanceTimersByTimeAsync(1_000);
  await breaker.run(() => Promise.reject(failure)).catch(() => {});
  expect(await breaker.run(() => 1).catch((error) => error)).toMatchObject({ cause: failure });
  breaker.isolate();
  expect(await breaker.run(() => 1).catch((error) => error)).not.toHaveProperty('cause');
});

describe('a snapshot', () => {
  const travel = (breaker: CircuitBreaker, options: CircuitBreakerOptions = {}) =>
    CircuitBreaker.restore(JSON.parse(JSON.stringify(breaker.snapshot())), options);

  test('of an open circuit opens it for what is left of the cooldown, the time between counted', async () => {
    const snapshot = JSON.parse(JSON.stringify(opened().snapshot()));
    await vi.advanceTimersByTimeAsync(400);
    const restored = CircuitBreaker.restore(snapshot, { cooldownMs: 1_000 });
    expect([restored.state, restored.retryAfterMs]).toEqual(['open', 600]);
    await vi.advanceTimersByTimeAsync(600);
    expect(restored.state).toBe('half-open');
  });

  test('restored when the wall clock was set back has lost no time', () => {
    const snapshot = opened().snapshot();
    vi.setSystemTime(Date.now() - 3_600_000);
    expect(CircuitBreaker.restore(snapshot).retryAfterMs).toBe(1_000);
  });

  test('of a closed circuit keeps the failures with their ages', async () => {
    const breaker = new CircuitBreaker({ failureThreshold: 2, windowMs: 1_000 });
    breaker.recordFailure();
    await vi.advanceTimersByTimeAsync(500);
    const [soon, late] = [
      travel(breaker, { failureThreshold: 2, windowMs: 1_000 }),
      travel(breaker, { failureThreshold: 2, windowMs: 1_000 }),
    ];
    soon.recordFailure();
    expect(soon.state).toBe('open');
    await vi.advanceTimersByTimeAsync(500);
    late.recordFailure();
    expect(late.state).toBe('closed');
  });

  test('of a closed circuit keeps the counts for the rates', () => {
    const options = { failureRate: 0.5, minimumCalls: 4 };
    const breaker = new CircuitBreaker(options);
    breaker.recordFailure();
    breaker.recordSuccess();
    breaker.recordFailure();
    const restored = travel(breaker, options);
    restored.recordSuccess();
    expect(restored.state).toBe('open');
  });

  test('of a half-open circuit is half-open, with the cooldown grown as it was', async () => {
    const cooldownMs = (openings: number) => 1_000 * openings;
    const breaker = opened({ cooldownMs });
    await vi.advanceTimersByTimeAsync(1_000);
    breaker.tryEnter();
    const restored = travel(breaker, { cooldownMs });
    expect(restored.state).toBe('half-open');
    restored.tryEnter()?.fail();
    expect(restored.retryAfterMs).toBe(2_000);
  });

  test('of an isolated circuit is isolated until it is reset', () => {
    const breaker = new CircuitBreaker();
    breaker.isolate();
    const restored = travel(breaker);
    expect(restored.retryAfterMs).toBe(Number.POSITIVE_INFINITY);
    restored.reset();
    expect(restored.state).toBe('closed');
  });

  test.each([
    [null, 'snapshot must be an object, received null'],
    [{ version: 2 }, 'snapshot.version must be 1, received 2'],
    [{ takenAt: 'soon' }, 'snapshot.takenAt must be a date, received "soon"'],
    [{ state: 'broken' }, 'snapshot.state must be "closed" or "open" or "isolated", received "broken"'],
    [{ remainingMs: -1 }, 'snapshot.remainingMs must be a number at least 0 and finite'],
    [{ openings: 1.5 }, 'snapshot.openings must be a whole number from 0 to'],
    [{ state: 'open', openings: 0 }, 'snapshot.openings must be a whole number from 1 to'],
    [{ log: [] }, 'snapshot.log.failureAgesMs must be an array, received undefined'],
    [{ log: { failureAgesMs: ['1'], outcomes: [] } }, 'snapshot.log.failureAgesMs[0] must be a number, received "1"'],
    [
      { log: { failureAgesMs: [], outcomes: [{ ageMs: 1, calls: 1, failures: 0 }] } },
      'snapshot.log.outcomes[0].slow must be a number',
    ],
  ])('that is none is refused: %o', (change, message) => {
    const snapshot = change && { ...new CircuitBreaker().snapshot(), ...change };
    expect(() => CircuitBreaker.restore(snapshot as never)).toThrow(message);
  });
});

test('a cooldown function that goes wrong later leaves its last result, and is told of', async () => {
  using uncaught = new Uncaught();
  const breaker = new CircuitBreaker({
    failureThreshold: 1,
    cooldownMs: (openings) => [1_000][openings - 1] as number,
  });
  breaker.recordFailure();
  await vi.advanceTimersByTimeAsync(1_000);
  await expect(breaker.run(fails)).rejects.toBe(broken);
  expect([breaker.state, breaker.retryAfterMs]).toEqual(['open', 1_000]);
  await new Promise((resolve) => process.nextTick(resolve));
  expect(String(uncaught.errors[0])).toContain('cooldownMs(2) must be a number, received undefined');
});

describe('who listens', () => {
  test('is told of each transition and refusal, on the events and on the channels', async () => {
    const told: unknown[] = [];
    const names = ['created', 'transition', 'reject', 'closed'].map((name) => `holdfast:circuit-breaker:${name}`);
    const listener = (message: unknown, name: unknown) =>
      void told.push([String(name).split(':')[2], ...Object.keys(message as object)]);
    for (const name of names) subscribe(name, listener);
    try {
      const breaker = new CircuitBreaker({ failureThreshold: 1, cooldownMs: 1_000 });
      breaker.on('transition', (...args) => told.push(args)).on('reject', (...args) => told.push(args));
      breaker.recordFailure();
      breaker.tryEnter();
      await vi.advanceTimersByTimeAsync(1_000);
      expect(breaker.state).toBe('half-open');
      breaker[Symbol.dispose]();
      breaker[Symbol.dispose]();
    } finally {
      for (const name of names) unsubscribe(name, listener);
    }
    expect(told).toEqual([
      ['created', 'breaker'],
      ['closed', 'open', 'failures'],
      ['transition', 'breaker', 'from', 'to', 'cause', 'error'],
      [1_000],
      ['reject', 'breaker', 'retryAfterMs'],
      ['open', 'half-open', 'cooldown-over'],
      ['transition', 'breaker', 'from', 'to', 'cause', 'error'],
      ['closed', 'breaker'],
    ]);
  });

  test('hears of one transition after the other, also if one of them makes the next', () => {
    const breaker = new CircuitBreaker({ failureThreshold: 1 });
    const heard: string[] = [];
    breaker.once('transition', () => breaker.reset());
    breaker.on('transition', (from, to) => heard.push(`${from} ${to}`));
    breaker.recordFailure();
    expect(heard).toEqual(['closed open', 'open closed']);
  });

  test('may ask for the state and use it while being told', () => {
    const breaker = new CircuitBreaker({ failureThreshold: 1 });
    const seen: string[] = [];
    breaker.once('transition', () => {
      seen.push(breaker.state);
      breaker.reset();
    });
    breaker.recordFailure();
    expect([...seen, breaker.state]).toEqual(['open', 'closed']);
  });
});

test('a breaker that was disposed of lets nothing through', async () => {
  const breaker = new CircuitBreaker({ name: 'tuner' });
  breaker[Symbol.dispose]();
  const error = await breaker.run(() => 1).catch((error) => error);
  expect(error).toBeInstanceOf(ClosedError);
  expect(error.message).toBe('the circuit breaker tuner is disposed of');
  expect([breaker.tryEnter(), breaker.canRun()]).toEqual([undefined, false]);
});

test('there is no timer, whatever the state', async () => {
  const breaker = opened();
  await vi.advanceTimersByTimeAsync(1_000);
  breaker.tryEnter();
  expect(vi.getTimerCount()).toBe(0);
});

describe('bad input is refused by name and value', () => {
  test.each([
    [{ failureThreshold: 0 }, RangeError, 'failureThreshold must be a whole number at least 1, received 0'],
    [{ failureThreshold: '5' }, TypeError, 'failureThreshold must be a number, received "5"'],
    [{ windowMs: 0 }, RangeError, 'windowMs must be above 0'],
    [{ cooldownMs: -1 }, RangeError, 'cooldownMs must be a number at least 0 and finite, received -1'],
    [
      { cooldownMs: () => Number.NaN },
      RangeError,
      'cooldownMs(1) must be a number at least 0 and finite, received NaN',
    ],
    [{ halfOpenProbes: 0 }, RangeError, 'halfOpenProbes must be a whole number from 1 to 1000, received 0'],
    [{ failureRate: 1.5 }, RangeError, 'failureRate must be above 0 and at most 1, received 1.5'],
    [{ failureRate: 0 }, RangeError, 'failureRate must be above 0 and at most 1, received 0'],
    [
      { slowCallRate: 0.5 },
      TypeError,
      'slowCallRate needs slowCallMs, which tells when a call is slow; received 0.5 alone',
    ],
    [{ slowCallMs: 0 }, RangeError, 'slowCallMs must be above 0 and finite, received 0'],
    [{ minimumCalls: 0 }, RangeError, 'minimumCalls must be a whole number at least 1, received 0'],
    [{ isFailure: true }, TypeError, 'isFailure must be a function, received true'],
    [{ name: '' }, TypeError, 'name must be a string that is not empty, received ""'],
    [{ threshold: 5 }, TypeError, 'CircuitBreaker has no option threshold; it takes name, failureThreshold'],
  ])('%o', (options, type, message) => {
    const make = () => new CircuitBreaker(options as never);
    expect(make).toThrow(type);
    expect(make).toThrow(message);
  });

  test('of run', async () => {
    const breaker = new CircuitBreaker();
    await expect(breaker.run('ls' as never)).rejects.toThrow('fn must be a function, received "ls"');
    await expect(breaker.run(() => 1, { timeoutMs: 5 } as never)).rejects.toThrow(
      'run has no option timeoutMs; it takes signal',
    );
    await expect(breaker.run(() => 1, { signal: 5 } as never)).rejects.toThrow(
      'signal must be an AbortSignal, received 5',
    );
  });
});
