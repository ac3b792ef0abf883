import { AcquireTimeoutError, ClosedError, TokenBucket, WaiterLimitError } from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Takes one after the other and notes who got his, in order. */
function takers(bucket: TokenBucket) {
  const got: string[] = [];
  const take = (name: string, count = 1, signal?: AbortSignal) =>
    bucket.take(count, { signal }).then(
      () => got.push(name),
      () => got.push(`${name} not`),
    );
  return { got, take };
}

const empty = () => new TokenBucket({ capacity: 10, refillPerSecond: 1, initial: 0 });

describe('a bucket', () => {
  test('gives a burst of its capacity at once and then as many as come', async () => {
    const bucket = new TokenBucket({ capacity: 3, refillPerSecond: 2 });
    expect([bucket.tryTake(), bucket.tryTake(2), bucket.tryTake()]).toEqual([true, true, false]);
    const next = bucket.take();
    await vi.advanceTimersByTimeAsync(500);
    expect(await next).toBe(500);
  });

  test('tells what can be taken, as a fraction', async () => {
    const bucket = new TokenBucket({ capacity: 3, refillPerSecond: 2, initial: 0 });
    await vi.advanceTimersByTimeAsync(250);
    expect(bucket.available).toBeCloseTo(0.5);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(bucket.available).toBe(3);
  });

  test('has no timer while nobody waits', async () => {
    const bucket = empty();
    expect(bucket.tryTake()).toBe(false);
    const reservation = bucket.reserve();
    expect(vi.getTimerCount()).toBe(0);
    const controller = new AbortController();
    const waiting = bucket.take(1, { signal: controller.signal });
    expect(vi.getTimerCount()).toBe(1);
    controller.abort('enough');
    await expect(waiting).rejects.toBe('enough');
    expect(vi.getTimerCount()).toBe(0);
    reservation.cancel();
    const taken = bucket.take();
    await vi.advanceTimersByTimeAsync(1_000);
    await taken;
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a take', () => {
  test('resolves with the milliseconds that it waited, in order of the calls', async () => {
    const bucket = empty();
    const waits = [bucket.take(2), bucket.take(1), bucket.take(3)];
    expect(bucket.waiting).toBe(3);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(await Promise.all(waits)).toEqual([2_000, 3_000, 6_000]);
    expect(bucket.waiting).toBe(0);
  });

  test('of many is not overtaken by those of few', async () => {
    const bucket = empty();
    const { got, take } = takers(bucket);
    take('large', 10);
    for (let index = 0; index < 5; index++) take(`small ${index}`);
    await vi.advanceTimersByTimeAsync(9_999);
    expect(bucket.tryTake()).toBe(false);
    expect(got).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_001);
    expect(got).toEqual(['large', 'small 0', 'small 1']);
  });

  test('fails at once when its time-out can not be met, and takes nothing', async () => {
    const bucket = empty();
    bucket.take(5);
    const error = await bucket.take(1, { timeoutMs: 5_999 }).catch((error) => error);
    expect(error).toBeInstanceOf(AcquireTimeoutError);
    expect(error).toMatchObject({ code: 'HOLDFAST_ACQUIRE_TIMEOUT', retryable: true, waitedMs: 0, retryAfterMs: 1 });
    expect(error.message).toBe('a token can be had in 6000 ms, not within 5999 ms (timeoutMs)');
    const last = bucket.take(1, { timeoutMs: 6_000 });
    await vi.advanceTimersByTimeAsync(6_000);
    expect(await last).toBe(6_000);
  });

  test('waits 90 s at most unless it is told otherwise', async () => {
    const bucket = new TokenBucket({ capacity: 1_000, refillPerSecond: 1, initial: 0 });
    await expect(bucket.take(91)).rejects.toThrow(AcquireTimeoutError);
    const patient = bucket.take(91, { timeoutMs: Number.POSITIVE_INFINITY });
    await vi.advanceTimersByTimeAsync(91_000);
    expect(await patient).toBe(91_000);
  });

  test('may wait for longer than a timer can run', async () => {
    const bucket = new TokenBucket({ capacity: 1, refillPerSecond: 1 / 86_400 / 50, initial: 0 });
    const patient = bucket.take(1, { timeoutMs: Number.POSITIVE_INFINITY });
    await vi.advanceTimersByTimeAsync(50 * 86_400_000 + 1);
    expect(await patient).toBeCloseTo(50 * 86_400_000, -1);
  });

  test('that is aborted takes nothing, and who waits behind moves up', async () => {
    const bucket = empty();
    const { got, take } = takers(bucket);
    const controller = new AbortController();
    take('first', 5, controller.signal);
    take('second', 2);
    await vi.advanceTimersByTimeAsync(2_500);
    controller.abort();
    await vi.advanceTimersByTimeAsync(0);
    expect(got).toEqual(['first not', 'second']);
    expect(bucket.available).toBeCloseTo(0.5);
  });

  test('that is aborted in the instant in which its tokens are there has not taken them', async () => {
    const bucket = empty();
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 1_000); // before the timer of the bucket
    const waiting = bucket.take(1, { signal: controller.signal });
    const rejected = expect(waiting).rejects.toThrow();
    await vi.advanceTimersByTimeAsync(1_000);
    await rejected;
    expect(bucket.available).toBe(1);
  });

  test('of several with one signal that aborts none takes any, in whatever order they are told', async () => {
    const bucket = empty();
    const leaving = new AbortController();
    const waits = [5, 3, 1].map((count) => bucket.take(count, { signal: leaving.signal }).catch(() => 'left'));
    await vi.advanceTimersByTimeAsync(4_500);
    leaving.abort();
    expect(await Promise.all(waits)).toEqual(['left', 'left', 'left']);
    expect(bucket.available).toBeCloseTo(4.5);
  });

  test('that was aborted before takes nothing', async () => {
    const bucket = new TokenBucket({ capacity: 1, refillPerSecond: 1 });
    await expect(bucket.take(1, { signal: AbortSignal.abort('before') })).rejects.toBe('before');
    expect(bucket.available).toBe(1);
  });

  test('is refused when too many wait', async () => {
    const bucket = new TokenBucket({ capacity: 1, refillPerSecond: 1, initial: 0, maxWaiters: 2 });
    const waits = [bucket.take(), bucket.take()];
    const error = await bucket.take().catch((error) => error);
    expect(error).toBeInstanceOf(WaiterLimitError);
    expect(error).toMatchObject({ code: 'HOLDFAST_WAITER_LIMIT', retryable: true });
    await vi.advanceTimersByTimeAsync(2_000);
    await Promise.all(waits);
  });
});

describe('a reservation', () => {
  test('tells when its tokens are there, and takes its turn among the takes', async () => {
    const bucket = empty();
    const reservation = bucket.reserve(3);
    expect(reservation.delayMs).toBe(3_000);
    const behind = bucket.take();
    await vi.advanceTimersByTimeAsync(4_000);
    expect(await behind).toBe(4_000);
  });

  test('that is cancelled gives back exactly what it had, once', async () => {
    const bucket = new TokenBucket({ capacity: 10, refillPerSecond: 1 });
    const [now, later] = [bucket.reserve(8), bucket.reserve(5)];
    expect([now.delayMs, later.delayMs]).toEqual([0, 3_000]);
    later.cancel();
    later.cancel();
    expect(bucket.available).toBe(2);
    now.cancel();
    now.cancel();
    expect(bucket.available).toBe(10);
  });

  test('that is cancelled lets those behind it go', async () => {
    const bucket = empty();
    const reservation = bucket.reserve(10);
    const behind = bucket.take(2);
    await vi.advanceTimersByTimeAsync(1_500);
    reservation.cancel();
    await vi.advanceTimersByTimeAsync(500);
    expect(await behind).toBe(2_000);
  });
});

describe('a closed bucket', () => {
  test('ends all waiting, grants nobody on the way, and gives nothing more', async () => {
    const bucket = empty();
    const { got, take } = takers(bucket);
    take('large', 5);
    take('small', 1);
    await vi.advanceTimersByTimeAsync(2_000);
    bucket.close();
    bucket.close();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(got).toEqual(['large not', 'small not']);
    expect(bucket.tryTake()).toBe(false);
    expect(() => bucket.reserve()).toThrow(ClosedError);
    await expect(bucket.take()).rejects.toThrow(ClosedError);
    expect([bucket.waiting, vi.getTimerCount()]).toEqual([0, 0]);
  });

  test('is closed by `using`', async () => {
    let waiting: Promise<number> | undefined;
    {
      using bucket = empty();
      waiting = bucket.take();
    }
    await expect(waiting).rejects.toThrow('the bucket is closed');
  });
});

describe('bad input', () => {
  test.each([
    [{ capacity: 0, refillPerSecond: 1 }, RangeError, 'capacity must be above 0 and finite, received 0'],
    [{ capacity: Number.NaN, refillPerSecond: 1 }, RangeError, 'capacity must be above 0 and finite, received NaN'],
    [
      { capacity: 1, refillPerSecond: Infinity },
      RangeError,
      'refillPerSecond must be above 0 and finite, received Infinity',
    ],
    [{ capacity: 1, refillPerSecond: '5' }, TypeError, 'refillPerSecond must be a number, received "5"'],
    [{ capacity: 1 }, TypeError, 'refillPerSecond must be a number, received undefined'],
    [{ capacity: 1, refillPerSecond: 1, initial: 2 }, RangeError, 'initial must be a number from 0 to 1, received 2'],
    [{ capacity: 1, refillPerSecond: 1, maxWaiters: 1.5 }, RangeError, 'maxWaiters must be a whole number'],
    [{ capacity: 1, refillPerSecond: 1, burst: 2 }, TypeError, 'TokenBucket has no option burst; it takes capacity'],
    [undefined, TypeError, 'the options of TokenBucket must be an object, received undefined'],
  ])('%o is refused by name and value', (options, type, message) => {
    const make = () => new TokenBucket(options as never);
    expect(make).toThrow(type);
    expect(make).toThrow(message);
  });

  test('a count of more than the capacity, of nothing or of no number', async () => {
    const bucket = new TokenBucket({ capacity: 3, refillPerSecond: 1 });
    expect(() => bucket.tryTake(4)).toThrow(new RangeError('count must be above 0 and at most 3, received 4'));
    await expect(bucket.take(3.5)).rejects.toThrow(RangeError);
    expect(() => bucket.reserve(0)).toThrow(RangeError);
    expect(() => bucket.reserve('1' as never)).toThrow(TypeError);
    await expect(bucket.take(1, { timeoutMs: -1 })).rejects.toThrow(
      'timeoutMs must be a number at least 0, received -1',
    );
    await expect(bucket.take(1, { timeout: 1 } as never)).rejects.toThrow('take has no option timeout');
    await expect(bucket.take(1, { signal: {} as never })).rejects.toThrow('signal must be an AbortSignal');
    expect(bucket.available).toBe(3);
  });
});
