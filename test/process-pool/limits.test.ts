import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  AcquireTimeoutError,
  type PoolInUseError,
  ProcessPool,
  SpawnTimeoutError,
  TokenBucket,
  WaiterLimitError,
} from 'holdfast';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const spawn = async () => new FakeChild();
const never = () => new Promise<FakeChild>(() => {});
const passing = Object.assign(new Error('passing'), { retryable: true });
const failing = () => Promise.reject(passing);
/** What becomes of a promise, by the name of its error, and when. */
function fate(promise: Promise<unknown>): { name?: string; at?: number; error?: unknown } {
  const told: { name?: string; at?: number; error?: unknown } = {};
  const settle = (name: string, error?: unknown) => Object.assign(told, { name, at: performance.now(), error });
  promise.then(
    () => settle('resolved'),
    (error) => settle(error.name, error),
  );
  return told;
}

describe('by default', () => {
  test('an acquire waits for 90 s, and a drain', async () => {
    const pool = new ProcessPool({ max: 1 });
    await pool.acquire(spawn);
    const [acquired, drained] = [fate(pool.acquire(spawn)), fate(pool.drain())];
    await pass(89_999);
    expect([acquired.name, drained.name]).toEqual([undefined, undefined]);
    await pass(1);
    expect([acquired.name, drained.name]).toEqual(['AcquireTimeoutError', 'PoolInUseError']);
  });

  test('a start has 15 s, there are 5, and 10,000 may wait', async () => {
    const starts = vi.fn(never);
    const pool = new ProcessPool({ max: 10, acquire: { backoffMs: () => 0 } });
    const acquired = fate(pool.acquire(starts));
    await pass(14_999);
    expect(starts).toHaveBeenCalledTimes(1);
    await pass(1 + 4 * 15_001);
    expect(starts).toHaveBeenCalledTimes(5);
    expect(acquired.error).toBeInstanceOf(SpawnTimeoutError);

    const full = new ProcessPool({ max: 1 });
    await full.acquire(spawn);
    for (let n = 0; n < 10_000; n++) fate(full.acquire(spawn));
    await pass(0);
    expect(full.stats().waiting).toBe(10_000);
    await expect(full.acquire(spawn)).rejects.toBeInstanceOf(WaiterLimitError);
    await full.close();
  });

  test('the pauses are full jitter of min(2 ** n, 60) s', async () => {
    const pool = new ProcessPool({ max: 1, acquire: { maxAttempts: 8 } });
    const delays = new Map<number, number[]>();
    pool.on('retry', (_, attempt, delayMs) => delays.set(attempt, [...(delays.get(attempt) ?? []), delayMs]));
    const all = Array.from({ length: 100 }, () => fate(pool.acquire(failing, { timeoutMs: 600_000 })));
    await pass(600_000);
    expect(all.every(({ name }) => name === 'Error')).toBe(true);
    expect([...delays.keys()]).toEqual([1, 2, 3, 4, 5, 6, 7]);
    for (const [attempt, seen] of delays) {
      const bound = Math.min(2 ** attempt, 60) * 1_000;
      expect(Math.max(...seen)).toBeLessThanOrEqual(bound);
      expect(Math.max(...seen)).toBeGreaterThan(0.8 * bound);
      expect(Math.min(...seen)).toBeLessThan(0.2 * bound);
    }
  });
});

describe('who backs off', () => {
  const options = { max: 1, maxWaiters: 2, acquire: { backoffMs: () => 1_000 } };

  test('takes no place of those who wait, and is bounded by itself', async () => {
    const pool = new ProcessPool(options);
    const backing = [fate(pool.acquire(failing)), fate(pool.acquire(failing))];
    await pass(0);
    expect(pool.stats()).toMatchObject({ backingOff: 2, waiting: 0 });
    expect(await pool.acquire(failing).catch((error) => error)).toBe(passing);
    await pool.acquire(spawn);
    const waiting = [fate(pool.acquire(spawn)), fate(pool.acquire(spawn))];
    await pass(0);
    expect(pool.stats()).toMatchObject({ backingOff: 2, waiting: 2 });
    await expect(pool.acquire(spawn)).rejects.toBeInstanceOf(WaiterLimitError);
    expect([...backing, ...waiting].map(({ name }) => name)).toEqual([undefined, undefined, undefined, undefined]);
    await pool.close();
  });

  test('may do so in every slot, however few may wait', async () => {
    const pool = new ProcessPool({ ...options, max: 3, maxWaiters: 0 });
    for (let n = 0; n < 3; n++) fate(pool.acquire(failing));
    await pass(0);
    expect(pool.stats().backingOff).toBe(3);
    await pool.close();
  });
});

test('what its token bucket refuses is final, though that may be tried again', async () => {
  const spawnRate = new TokenBucket({ capacity: 1, refillPerSecond: 0.01, maxWaiters: 0 });
  const pool = new ProcessPool({ max: 2, spawnRate, acquire: { backoffMs: () => 0 } });
  const take = vi.spyOn(spawnRate, 'take');
  await pool.acquire(spawn);
  await expect(pool.acquire(spawn)).rejects.toBeInstanceOf(WaiterLimitError);
  expect(take).toHaveBeenCalledTimes(2);
  expect(pool.stats()).toMatchObject({ active: 1, starting: 0, waiting: 0 });
});

test('who comes for a key whose only caller has left starts anew', async () => {
  const pool = new ProcessPool({ max: 2 });
  const leaving = new AbortController();
  const left = fate(pool.acquire(never, { key: 'news', signal: leaving.signal }));
  await pass(0);
  leaving.abort();
  const lease = await pool.acquire(spawn, { key: 'news' });
  expect([left.name, lease.key]).toEqual(['AbortError', 'news']);
});

describe('a leak', () => {
  test('is told of what is held too long, once, and not of what was released', async () => {
    const pool = new ProcessPool({ max: 2, leakAfterMs: 1_000 });
    const leaks: unknown[] = [];
    pool.on('leak', (lease) => leaks.push(lease));
    const [held, released] = [await pool.acquire(spawn), await pool.acquire(spawn)];
    await released.release();
    await pass(10_000);
    expect(leaks).toEqual([held]);
  });

  test('keeps no process alive that waits to tell of it', async () => {
    vi.useRealTimers();
    const timers = vi.spyOn(globalThis, 'setTimeout');
    onTestFinished(() => timers.mockRestore());
    const pool = new ProcessPool({ max: 1, leakAfterMs: 50_000 });
    const lease = await pool.acquire(spawn);
    const index = timers.mock.calls.findIndex(([, ms]) => ms === 50_000);
    const timer: NodeJS.Timeout | undefined = timers.mock.results[index]?.value;
    expect(timer?.hasRef()).toBe(false);
    await lease.release();
  });
});

describe('a start that is given up and never settles', () => {
  const options = { max: 1, acquire: { spawnTimeoutMs: 100, maxAttempts: 1 } };

  test('is counted as overdue, published, and named by a drain', async () => {
    const published = vi.fn();
    subscribe('holdfast:process-pool:spawn-timeout', published);
    onTestFinished(() => void unsubscribe('holdfast:process-pool:spawn-timeout', published));
    const pool = new ProcessPool(options);
    let settle!: (child: FakeChild) => void;
    const acquired = fate(
      pool.acquire(
        () =>
          new Promise<FakeChild>((resolve) => {
            settle = resolve;
          }),
      ),
    );
    await pass(100);
    expect(acquired.error).toBeInstanceOf(SpawnTimeoutError);
    expect(published).toHaveBeenCalledTimes(1);
    expect(pool.stats()).toMatchObject({ active: 0, starting: 1, overdue: 1, stuck: 0 });
    const drained = fate(pool.drain({ timeoutMs: 50 }));
    await pass(50);
    expect((drained.error as PoolInUseError).message).toBe(
      'slots of the pool are still taken after 50 ms: 0 by leases, see leases(), 1 by starts, of which 1 ignore their signal',
    );
    settle(new FakeChild());
    await pass(0);
    expect(pool.stats()).toMatchObject({ starting: 0, overdue: 0 });
  });
});

describe('close', () => {
  test('each call waits for as long as it says', async () => {
    const pool = new ProcessPool({ max: 1 });
    fate(pool.acquire(never));
    await pass(0);
    const [patient, hasty] = [fate(pool.close('x', { timeoutMs: 3_000 })), fate(pool.close('x', { timeoutMs: 100 }))];
    await pass(100);
    expect([patient.name, hasty.name]).toEqual([undefined, 'PoolInUseError']);
    await pass(2_900);
    expect(patient.name).toBe('PoolInUseError');
  });

  test('is published once, when all is gone, however late', async () => {
    const published = vi.fn();
    subscribe('holdfast:process-pool:closed', published);
    onTestFinished(() => void unsubscribe('holdfast:process-pool:closed', published));
    const pool = new ProcessPool({ max: 1 });
    const child = new FakeChild();
    child.canEnd = false;
    await pool.acquire(async () => child);
    await pool.close().catch(() => {});
    expect(published).not.toHaveBeenCalled();
    child.end('exited');
    await pass(0);
    await pool.close();
    expect(published).toHaveBeenCalledTimes(1);
  });
});

test('at every turn each slot that is taken is counted once', async () => {
  const pool = new ProcessPool({ max: 1 });
  const child = new FakeChild();
  const counts: number[][] = [];
  const look = () => {
    const { active, starting } = pool.stats();
    counts.push([active, starting]);
  };
  await pool.acquire(async () => {
    queueMicrotask(() => queueMicrotask(() => void child.closed.then(look)));
    return child;
  });
  void child.closed.then(look);
  child.end('exited');
  for (let turn = 0; turn < 8; turn++) {
    look();
    await undefined;
  }
  expect(counts.every(([active, starting]) => active !== undefined && active >= 0 && starting === 0)).toBe(true);
  expect(pool.stats()).toMatchObject({ active: 0, starting: 0 });
});

test.each([
  ['of a slot', async (pool: ProcessPool) => void (await pool.acquire(spawn)), 1, 1_000, 0],
  ['of its start', async () => {}, 0, 0, 1],
])('the time-out of an acquire tells what it waited for: %s', async (_, before, taken, queuedMs, attempts) => {
  const pool = new ProcessPool({ max: 1 });
  await before(pool);
  const acquired = fate(pool.acquire(never, { timeoutMs: 1_000 }));
  await pass(1_000);
  expect(acquired.error).toBeInstanceOf(AcquireTimeoutError);
  expect(acquired.error).toMatchObject({ waitedMs: 1_000, queuedMs, attempts });
  expect(pool.stats().active).toBe(taken);
});

test('who joins one that has queued before did not queue himself', async () => {
  const pool = new ProcessPool({ max: 1 });
  const lease = await pool.acquire(spawn);
  fate(pool.acquire(never, { key: 'news' }));
  await pass(600);
  await lease.release();
  const joined = fate(pool.acquire(never, { key: 'news', timeoutMs: 500 }));
  await pass(500);
  expect(joined.error).toMatchObject({ waitedMs: 500, queuedMs: 0 });
  fate(pool.close(undefined, { timeoutMs: 0 }));
  await pass(1);
});

test('an admission check that is none is named by its place', () => {
  expect(() => new ProcessPool({ max: 1, admission: [() => undefined, 7 as never] })).toThrow(
    'admission[1] must be one of checks, such as minFreeMemory(2 ** 28), received 7',
  );
});
