import {
  AcquireTimeoutError,
  AdmissionError,
  ClosedError,
  PoolInUseError,
  ProcessPool,
  SpawnTimeoutError,
  TokenBucket,
  WaiterLimitError,
} from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Starts children and keeps them all. */
function nursery() {
  const children: FakeChild[] = [];
  const spawn = async () => {
    const child = new FakeChild();
    children.push(child);
    return child;
  };
  return { children, spawn, living: () => children.filter((child) => !child.isGone).length };
}

const settled = () => vi.advanceTimersByTimeAsync(0);
const failing = (error: unknown) => () => Promise.reject(error);
const passing = Object.assign(new Error('passing'), { retryable: true });

/** Fails so often, and then starts a child. */
function flaky(times: number, error: unknown = passing) {
  let calls = 0;
  return async () => {
    if (calls++ < times) throw error;
    return new FakeChild();
  };
}

describe('an acquire', () => {
  test('starts a child and leases it', async () => {
    const pool = new ProcessPool({ max: 2 });
    const { spawn, children } = nursery();
    const lease = await pool.acquire(spawn, { key: 'news' });
    expect(lease).toMatchObject({ child: children[0], key: 'news', attempts: 1, waitedMs: 0 });
    expect(pool.stats()).toMatchObject({ max: 2, active: 1, starting: 0, waiting: 0 });
    expect(pool.leases()).toEqual([lease]);
    expect(await lease.release()).toEqual({ reason: 'terminated' });
    expect(pool.stats()).toMatchObject({ active: 0, starting: 0 });
  });

  test('waits for a slot, which the one that waits longest gets', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, living } = nursery();
    const first = await pool.acquire(spawn);
    const order: string[] = [];
    const later = ['a', 'b'].map(async (name) => {
      const lease = await pool.acquire(spawn);
      order.push(name);
      return lease;
    });
    await settled();
    expect([living(), pool.stats().waiting]).toEqual([1, 2]);
    await vi.advanceTimersByTimeAsync(1_000);
    await first.release();
    const second = await later[0];
    expect([order, living(), second?.waitedMs]).toEqual([['a'], 1, 1_000]);
    await second?.release();
    await (await later[1])?.release();
  });

  test('of a higher priority gets a slot before those who came earlier', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn } = nursery();
    const first = await pool.acquire(spawn);
    const order: string[] = [];
    const wanted = [
      ['low', -1],
      ['first', 0],
      ['high', 5],
      ['second', 0],
      ['higher', 9],
    ] as const;
    const all = wanted.map(async ([name, priority]) => {
      const lease = await pool.acquire(spawn, { priority });
      order.push(name);
      await lease.release();
    });
    await settled();
    await first.release();
    await Promise.all(all);
    expect(order).toEqual(['higher', 'high', 'first', 'second', 'low']);
  });

  test('gets the slot of a child that ended by itself', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, children } = nursery();
    const first = await pool.acquire(spawn);
    const next = pool.acquire(spawn);
    children[0]?.end('exited');
    await (await next).release();
    expect(await first.release()).toEqual({ reason: 'exited' });
    expect(pool.stats()).toMatchObject({ active: 0, starting: 0 });
  });

  test('times out while it waits, and leaves the queue', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, children } = nursery();
    const first = await pool.acquire(spawn);
    const late = pool.acquire(spawn, { timeoutMs: 1_000 }).catch((error) => error);
    await vi.advanceTimersByTimeAsync(1_000);
    const error = await late;
    expect(error).toBeInstanceOf(AcquireTimeoutError);
    expect(error).toMatchObject({
      waitedMs: 1_000,
      attempts: 0,
      message: 'no slot was free within 1000 ms (timeoutMs)',
    });
    expect(pool.stats().waiting).toBe(0);
    await first.release();
    expect(children).toHaveLength(1);
  });

  test('that is aborted while it waits leaves the queue', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn } = nursery();
    const first = await pool.acquire(spawn);
    const controller = new AbortController();
    const waiting = pool.acquire(spawn, { signal: controller.signal });
    controller.abort('gone');
    await expect(waiting).rejects.toBe('gone');
    expect(pool.stats().waiting).toBe(0);
    await first.release();
  });

  test('that is aborted between the grant of a slot and its receipt gives the slot to the next', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, children } = nursery();
    const first = await pool.acquire(spawn);
    const controller = new AbortController();
    const aborted = pool.acquire(spawn, { signal: controller.signal }).catch((reason) => reason);
    const next = pool.acquire(spawn);
    const released = first.release();
    first.child.closed.then(() => controller.abort('gone')); // after the pool heard of it, before the one that waits does
    await released;
    expect(await aborted).toBe('gone');
    await (await next).release();
    expect(children).toHaveLength(2);
    expect(pool.stats()).toMatchObject({ active: 0, starting: 0, waiting: 0 });
  });

  test('that is aborted while its child is being started ends what comes of it', async () => {
    const pool = new ProcessPool({ max: 1 });
    const controller = new AbortController();
    const { promise, resolve } = Promise.withResolvers<FakeChild>();
    let given: AbortSignal | undefined;
    const acquiring = pool.acquire(
      ({ signal }) => {
        given = signal;
        return promise;
      },
      { signal: controller.signal },
    );
    await settled();
    controller.abort('gone');
    await expect(acquiring).rejects.toBe('gone');
    expect([given?.aborted, pool.stats().starting]).toEqual([true, 1]);
    const late = new FakeChild();
    resolve(late);
    await settled();
    expect([late.isGone, pool.stats().starting, pool.stats().active]).toEqual([true, 0, 0]);
  });

  test('does nothing to its child when its signal aborts later', async () => {
    const pool = new ProcessPool({ max: 1 });
    const controller = new AbortController();
    let given: AbortSignal | undefined;
    const lease = await pool.acquire(
      async ({ signal }) => {
        given = signal;
        return new FakeChild();
      },
      {
        signal: controller.signal,
      },
    );
    controller.abort();
    expect([given?.aborted, lease.child.isGone]).toEqual([false, false]);
    await lease.release();
  });

  test('is refused at once when too many wait', async () => {
    const pool = new ProcessPool({ max: 1, maxWaiters: 1 });
    const { spawn } = nursery();
    const first = await pool.acquire(spawn);
    const second = pool.acquire(spawn);
    await settled();
    await expect(pool.acquire(spawn)).rejects.toThrow(WaiterLimitError);
    await first.release();
    await (await second).release();
  });
});

describe('an attempt', () => {
  test('that fails and may be repeated is, with pauses in which no slot is held', async () => {
    const pool = new ProcessPool({ max: 1, acquire: { backoffMs: (attempt) => attempt * 1_000 } });
    const pauses: unknown[] = [];
    pool.on('retry', (error, attempt, delayMs) => pauses.push([error, attempt, delayMs]));
    const acquiring = pool.acquire(flaky(2));
    await settled();
    expect(pool.stats()).toMatchObject({ starting: 0, active: 0, backingOff: 1 });
    const other = await pool.acquire(async () => new FakeChild());
    await other.release();
    await vi.advanceTimersByTimeAsync(3_000);
    const lease = await acquiring;
    expect([lease.attempts, lease.waitedMs]).toEqual([3, 3_000]);
    expect(pauses).toEqual([
      [passing, 1, 1_000],
      [passing, 2, 2_000],
    ]);
    await lease.release();
  });

  test('is made five times at most, and the last failure is told as it is', async () => {
    const pool = new ProcessPool({ max: 1, acquire: { backoffMs: () => 10 } });
    let calls = 0;
    const acquiring = pool
      .acquire(() => {
        calls++;
        return Promise.reject(passing);
      })
      .catch((error) => error);
    await vi.advanceTimersByTimeAsync(1_000);
    expect([await acquiring, calls]).toEqual([passing, 5]);
  });

  test.each([
    ['an error that is not retryable', new Error('no such program')],
    ['a TypeError', new TypeError('wrong')],
    ['a thing that is no error', 'text'],
  ])('that fails by %s is not repeated', async (_, thrown) => {
    const pool = new ProcessPool({ max: 1 });
    let calls = 0;
    await expect(
      pool.acquire(() => {
        calls++;
        return Promise.reject(thrown);
      }),
    ).rejects.toBe(thrown);
    expect([calls, pool.stats().starting]).toEqual([1, 0]);
  });

  test('that takes too long is given up and repeated; what comes too late is ended and keeps its slot until then', async () => {
    const pool = new ProcessPool({ max: 2, acquire: { spawnTimeoutMs: 1_000, backoffMs: () => 500 } });
    const late = Promise.withResolvers<FakeChild>();
    const signals: AbortSignal[] = [];
    const spawn = vi.fn(({ signal, attempt }: { signal: AbortSignal; attempt: number }) => {
      signals.push(signal);
      return attempt === 1 ? late.promise : Promise.resolve(new FakeChild());
    });
    const acquiring = pool.acquire(spawn);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(signals[0]?.reason).toBeInstanceOf(SpawnTimeoutError);
    await vi.advanceTimersByTimeAsync(500);
    const lease = await acquiring;
    expect([lease.attempts, signals[1]?.aborted]).toEqual([2, false]);
    expect(pool.stats()).toMatchObject({ active: 1, starting: 1 });
    const child = new FakeChild();
    late.resolve(child);
    await settled();
    expect(child.isGone).toBe(true);
    expect(pool.stats()).toMatchObject({ active: 1, starting: 0 });
    await lease.release();
  });

  test('goes on until the time for all of it is over, whose error has the last failure', async () => {
    const pool = new ProcessPool({ max: 1, acquire: { timeoutMs: 2_500, backoffMs: () => 1_000 } });
    const acquiring = pool.acquire(failing(passing)).catch((error) => error);
    await vi.advanceTimersByTimeAsync(2_500);
    expect(await acquiring).toMatchObject({
      code: 'HOLDFAST_ACQUIRE_TIMEOUT',
      attempts: 3,
      waitedMs: 2_500,
      cause: passing,
    });
    expect(pool.stats()).toMatchObject({ backingOff: 0, starting: 0 });
    expect(vi.getTimerCount()).toBe(0);
  });

  test('by default pauses for a random part of min(2 ** attempt, 60) s', async () => {
    const pool = new ProcessPool({ max: 1, acquire: { timeoutMs: Number.POSITIVE_INFINITY, maxAttempts: 9 } });
    const pauses: number[] = [];
    pool.on('retry', (_, __, delayMs) => pauses.push(delayMs));
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const acquiring = pool.acquire(failing(passing)).catch(() => {});
    await vi.advanceTimersByTimeAsync(1e6);
    await acquiring;
    expect(pauses).toEqual([1, 2, 4, 8, 16, 30, 30, 30].map((seconds) => seconds * 1_000));
    vi.restoreAllMocks();
  });

  test('takes a token after it has a slot', async () => {
    const spawnRate = new TokenBucket({ capacity: 1, refillPerSecond: 1 });
    const pool = new ProcessPool({ max: 2, spawnRate });
    const { spawn, living } = nursery();
    const all = [1, 2, 3].map(() => pool.acquire(spawn));
    await settled();
    expect([living(), pool.stats().starting, pool.stats().waiting]).toEqual([1, 1, 1]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(living()).toBe(2);
    await (await all[0])?.release();
    await vi.advanceTimersByTimeAsync(1_000);
    await (await all[1])?.release();
    await (await all[2])?.release();
  });

  test('is refused at once by what speaks against it, and not repeated', async () => {
    let why: string | undefined = 'no memory';
    const pool = new ProcessPool({ max: 1, admission: [() => undefined, () => why] });
    const { spawn, children } = nursery();
    await expect(pool.acquire(spawn)).rejects.toThrow(new AdmissionError('no memory'));
    expect(children).toEqual([]);
    why = undefined;
    await (await pool.acquire(spawn)).release();
  });

  test('is asked about again after it has waited', async () => {
    let why: string | undefined;
    const pool = new ProcessPool({ max: 1, admission: [() => why] });
    const { spawn, children } = nursery();
    const first = await pool.acquire(spawn);
    const second = pool.acquire(spawn).catch((error) => error);
    await settled();
    why = 'no memory';
    await first.release();
    expect(await second).toBeInstanceOf(AdmissionError);
    expect([children.length, pool.stats().starting]).toEqual([1, 0]);
  });

  test('that gives no child is a failure and frees its slot', async () => {
    const pool = new ProcessPool({ max: 1 });
    await expect(pool.acquire(async () => ({}) as never)).rejects.toThrow(
      'spawn must resolve with a child that has closed',
    );
    expect(pool.stats().starting).toBe(0);
  });
});

describe('a key', () => {
  test('has one acquire under way: others join it and get the same lease', async () => {
    const pool = new ProcessPool({ max: 4 });
    const { spawn, children } = nursery();
    const leases = await Promise.all([1, 2, 3].map(() => pool.acquire(spawn, { key: 'news' })));
    expect(new Set(leases).size).toBe(1);
    expect(children).toHaveLength(1);
    await leases[0]?.release();
  });

  test('goes on for those who stay when one who joined leaves', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, children } = nursery();
    const blocker = await pool.acquire(spawn);
    const controller = new AbortController();
    const first = pool.acquire(spawn, { key: 'news', signal: controller.signal });
    const second = pool.acquire(spawn, { key: 'news' });
    const third = pool.acquire(spawn, { key: 'news', timeoutMs: 10 }).catch((error) => error);
    await settled();
    expect(pool.stats().waiting).toBe(1);
    controller.abort('gone');
    await expect(first).rejects.toBe('gone');
    await vi.advanceTimersByTimeAsync(10);
    expect(await third).toBeInstanceOf(AcquireTimeoutError);
    await blocker.release();
    await (await second).release();
    expect(children).toHaveLength(2);
  });

  test('is tried anew after it failed', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn } = nursery();
    await expect(pool.acquire(failing(new Error('broken')), { key: 'news' })).rejects.toThrow('broken');
    await (await pool.acquire(spawn, { key: 'news' })).release();
  });
});

describe('a lease', () => {
  test('that is released twice frees its slot once', async () => {
    const pool = new ProcessPool({ max: 2 });
    const { spawn } = nursery();
    const [first, second] = [await pool.acquire(spawn), await pool.acquire(spawn)];
    await Promise.all([first.release(), first.release()]);
    await first.release();
    expect(pool.stats()).toMatchObject({ active: 1, starting: 0 });
    await second.release();
  });

  test('is released when its block is left, also by an error', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, living } = nursery();
    const use = async () => {
      await using _lease = await pool.acquire(spawn);
      throw new Error('the owner threw');
    };
    await expect(use()).rejects.toThrow('the owner threw');
    expect([living(), pool.stats().active]).toEqual([0, 0]);
  });

  test('of what can not be ended says so, keeps its slot, and can be tried again', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, children } = nursery();
    const lease = await pool.acquire(spawn);
    const [child] = children as [FakeChild];
    child.canEnd = false;
    await expect(lease.release()).rejects.toThrow('it can not be ended');
    expect(pool.stats()).toMatchObject({ active: 1, stuck: 1 });
    child.canEnd = true;
    await lease.release();
    expect(pool.stats()).toMatchObject({ active: 0, stuck: 0 });
  });

  test('that is held for too long is told of, with the stack that took it', async () => {
    const pool = new ProcessPool({ max: 1, leakAfterMs: 5_000 });
    const { spawn } = nursery();
    const leaks: unknown[] = [];
    pool.on('leak', (lease) => leaks.push(lease));
    const lease = await pool.acquire(spawn);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(leaks).toEqual([lease]);
    expect(lease.stack).toContain('process-pool.test.ts');
    expect(lease.heldMs).toBe(5_000);
    await lease.release();
  });

  test('has no stack unless leaks are to be told of', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn } = nursery();
    const lease = await pool.acquire(spawn);
    expect('stack' in lease).toBe(false);
    await lease.release();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a pool that is drained', () => {
  test('serves those who wait, takes no new ones, and is empty then', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, children } = nursery();
    const first = await pool.acquire(spawn);
    const second = pool.acquire(spawn);
    await settled();
    let isDrained = false;
    const drained = pool.drain().then(() => (isDrained = true));
    await expect(pool.acquire(spawn)).rejects.toThrow(new ClosedError('the pool', undefined, 'being drained'));
    await first.release();
    const lease = await second;
    expect(isDrained).toBe(false);
    await lease.release();
    await drained;
    expect(children).toHaveLength(2);
  });

  test('says when it is not empty in time', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn } = nursery();
    const lease = await pool.acquire(spawn);
    const drained = pool.drain({ timeoutMs: 1_000 }).catch((error) => error);
    await vi.advanceTimersByTimeAsync(1_000);
    const error = await drained;
    expect(error).toBeInstanceOf(PoolInUseError);
    expect(error).toMatchObject({ taken: 1 });
    await lease.release();
    await pool.drain();
  });

  test('waits no longer than its caller', async () => {
    const pool = new ProcessPool({ max: 1 });
    const lease = await pool.acquire(nursery().spawn);
    const controller = new AbortController();
    const drained = pool.drain({ signal: controller.signal });
    controller.abort('enough');
    await expect(drained).rejects.toBe('enough');
    await lease.release();
  });
});

describe('a pool that is closed', () => {
  test('ends its children, those that are being started, and all waiting', async () => {
    const pool = new ProcessPool({ max: 2 });
    const { spawn, living } = nursery();
    let given: AbortSignal | undefined;
    await pool.acquire(async ({ signal }) => {
      given = signal;
      return spawn();
    });
    const starting = pool.acquire(
      ({ signal }) =>
        new Promise<FakeChild>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    );
    const waiting = pool.acquire(spawn);
    const refused = Promise.allSettled([starting, waiting]);
    await settled();
    await pool.close('shutting down');
    for (const end of await refused)
      expect(end).toMatchObject({ status: 'rejected', reason: { code: 'HOLDFAST_CLOSED', cause: 'shutting down' } });
    expect([living(), given?.aborted]).toEqual([0, true]);
    expect(pool.stats()).toMatchObject({ active: 0, starting: 0, waiting: 0, backingOff: 0 });
    await expect(pool.acquire(spawn)).rejects.toThrow(ClosedError);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('says when something can not be ended', async () => {
    const pool = new ProcessPool({ max: 1 });
    const { spawn, children } = nursery();
    const failures: unknown[] = [];
    pool.on('failure', (error) => failures.push(error));
    await pool.acquire(spawn);
    (children[0] as FakeChild).canEnd = false;
    const closed = pool.close().catch((error) => error);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await closed).toBeInstanceOf(PoolInUseError);
    expect(failures).toHaveLength(1);
  });
});
