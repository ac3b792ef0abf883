import { ProcessPool, type ProcessPoolOptions } from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settled = () => vi.advanceTimersByTimeAsync(0);
const EMPTY = { active: 0, starting: 0, waiting: 0, backingOff: 0, overdue: 0, stuck: 0 };

async function holding(onDispose: (child: FakeChild) => Promise<void>, options: Partial<ProcessPoolOptions> = {}) {
  const pool = new ProcessPool({ max: 2, ...options });
  const child = new FakeChild();
  child.onDispose = () => onDispose(child);
  return { pool, child, lease: await pool.acquire(async () => child) };
}

const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error) => error,
  );

describe('calls from what the pool calls', () => {
  test('a spawn that aborts its caller before it returns ends as any other abort does', async () => {
    const pool = new ProcessPool({ max: 1 });
    const controller = new AbortController();
    const child = new FakeChild();
    const spawn = () => {
      controller.abort('left');
      return Promise.resolve(child);
    };
    expect(await outcome(pool.acquire(spawn, { signal: controller.signal }))).toBe('left');
    await settled();
    expect([child.isGone, pool.stats()]).toMatchObject([true, EMPTY]);
    await pool.close();
  });

  test('an admission check that closes the pool loses no slot', async () => {
    let calls = 0;
    const check = () => {
      if (++calls === 2) pool.close();
      return undefined;
    };
    const pool: ProcessPool = new ProcessPool({ max: 1, admission: [check] });
    expect(await outcome(pool.acquire(async () => new FakeChild()))).toMatchObject({ code: 'HOLDFAST_CLOSED' });
    expect(pool.stats()).toMatchObject(EMPTY);
    await pool.close();
  });

  test('a child that is dead when it comes is never counted as less than nothing', async () => {
    const pool = new ProcessPool({ max: 1 });
    const seen: number[] = [];
    pool.on('acquired', () => seen.push(pool.stats().starting));
    const child = new FakeChild();
    child.end('exited');
    await pool.acquire(async () => child);
    expect(seen).toEqual([0]);
  });
});

describe('what can not be ended', () => {
  test('is not told of as stuck when it is gone: a disposal that fails after the end', async () => {
    const { pool, lease } = await holding(async (child) => {
      child.end('terminated');
      await settled();
      throw new Error('cleaning up failed');
    });
    expect(await outcome(lease.release())).toBeInstanceOf(Error);
    expect(pool.stats()).toMatchObject(EMPTY);
  });

  test('is tried again by close, which waits for that', async () => {
    let canEnd = false;
    const { pool, lease, child } = await holding(async (child) => {
      if (!canEnd) throw new Error('it can not be ended');
      child.end('terminated');
    });
    await outcome(lease.release());
    canEnd = true;
    expect([await outcome(pool.close()), child.isGone]).toEqual(['done', true]);
  });

  test('that comes too late is told of, also if its disposal throws at once', async () => {
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    const pool = new ProcessPool({ max: 1 });
    const failure = vi.fn();
    pool.on('failure', failure);
    const controller = new AbortController();
    const late = Promise.withResolvers<FakeChild>();
    const acquiring = outcome(pool.acquire(() => late.promise, { signal: controller.signal }));
    await settled();
    controller.abort('left');
    expect(await acquiring).toBe('left');
    const child = new FakeChild();
    child.onDispose = () => {
      throw new Error('at once');
    };
    late.resolve(child);
    await settled();
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect([unhandled.mock.calls.length, failure.mock.calls.length]).toEqual([0, 1]);
  });
});

test('close waits for a child that takes longer to end than an acquire may', async () => {
  const slowly = async (child: FakeChild) => {
    setTimeout(() => child.end('terminated'), 5_000);
    await child.closed;
  };
  const { pool } = await holding(slowly, { acquire: { timeoutMs: 1_000 } });
  const closed = outcome(pool.close());
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await closed).toBe('done');
});

test('one that backs off does not keep others from slots that are free', async () => {
  const pool = new ProcessPool({ max: 4, maxWaiters: 0, acquire: { backoffMs: () => 10_000 } });
  const passing = Object.assign(new Error('passing'), { retryable: true });
  const failing = outcome(pool.acquire(() => Promise.reject(passing), { timeoutMs: 5_000 }));
  await settled();
  expect(await outcome(pool.acquire(async () => new FakeChild()))).toBe('done');
  await vi.advanceTimersByTimeAsync(5_000);
  await failing;
});

describe('the signal of an attempt aborts', () => {
  test('when the attempt has failed', async () => {
    const pool = new ProcessPool({ max: 1 });
    let given: AbortSignal | undefined;
    const spawn = ({ signal }: { signal: AbortSignal }) => {
      given = signal;
      return Promise.reject(new Error('broken'));
    };
    await outcome(pool.acquire(spawn));
    expect(given?.aborted).toBe(true);
  });

  test.each([0, 1, 2, 3, 4, 5])(
    'when its caller leaves %i turns after the child came, and gets none',
    async (turns) => {
      const pool = new ProcessPool({ max: 1 });
      const controller = new AbortController();
      const came = Promise.withResolvers<FakeChild>();
      let given: AbortSignal | undefined;
      const spawn = ({ signal }: { signal: AbortSignal }) => {
        given = signal;
        return came.promise;
      };
      const acquiring = outcome(pool.acquire(spawn, { signal: controller.signal }));
      came.resolve(new FakeChild());
      for (let turn = 0; turn < turns; turn++) await undefined;
      controller.abort('left');
      const isLeased = (await acquiring) === 'done';
      await settled();
      expect(given?.aborted).toBe(!isLeased);
    },
  );
});
