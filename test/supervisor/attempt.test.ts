import { ClosedError, RestartRefusedError, ServiceEndedError, Supervisor, type SupervisorOptions } from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const broken = new Error('broken');
const settled = () => vi.advanceTimersByTimeAsync(0);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

function supervised(options: SupervisorOptions = {}): Supervisor {
  return new Supervisor({ breaker: false, backoff: { minMs: 0, jitter: 'none' }, ...options });
}

const opening = async () => new FakeChild();

/** Opens, and ends in this way. */
async function endBy(supervisor: Supervisor, reason: string): Promise<void> {
  (await supervisor.attempt('news', opening)).end(reason);
  await settled();
}

test('gives what it opened', async () => {
  await using supervisor = supervised();
  const child = new FakeChild();
  expect(
    await supervisor.attempt('news', async ({ attempt }) => {
      expect(attempt).toBe(1);
      return child;
    }),
  ).toBe(child);
});

test('an unknown id is allowed', () => {
  expect(supervised().canRestart('news')).toEqual({ allowed: true });
});

test.each(['aborted', 'terminated'])('after an end by %s the next is no restart', async (reason) => {
  await using supervisor = supervised();
  const restarts = vi.fn();
  supervisor.on('restart', restarts);
  for (let n = 0; n < 100; n++) await endBy(supervisor, reason);
  expect(supervisor.canRestart('news')).toEqual({ allowed: true });
  expect(restarts).not.toHaveBeenCalled();
});

test.each(['exited', 'stalled', 'lock-lost'])('an end by %s is a failure, and the next a restart', async (reason) => {
  await using supervisor = supervised();
  const failures: unknown[] = [];
  supervisor.on('failure', (_, error) => failures.push(error));
  await endBy(supervisor, reason);
  expect(supervisor.canRestart('news')).toEqual({ allowed: true });
  await endBy(supervisor, reason);
  expect(supervisor.canRestart('news')).toMatchObject({ why: 'cooldown', retryAfterMs: 30_000 });
  const error = await supervisor.attempt('news', opening).catch((error) => error);
  expect(error).toBeInstanceOf(RestartRefusedError);
  expect(error.message).toBe('news is not started again for 30000 ms more: it was restarted a moment ago (cooldownMs)');
  expect(failures).toEqual([expect.any(ServiceEndedError), expect.any(ServiceEndedError)]);
  expect((failures[0] as Error).message).toContain(reason);
});

test('a rejection is a failure and passed on as it is', async () => {
  await using supervisor = supervised({ breaker: { failureThreshold: 1 } });
  await expect(supervisor.attempt('news', () => Promise.reject(broken))).rejects.toBe(broken);
  expect(supervisor.canRestart('news')).toMatchObject({ why: 'circuit-open', retryAfterMs: 120_000 });
});

test('one that throws at once has failed like one that rejects', async () => {
  await using supervisor = supervised({ breaker: { failureThreshold: 1 } });
  const thrower = () => {
    throw broken;
  };
  await expect(supervisor.attempt('news', thrower)).rejects.toBe(broken);
  expect(supervisor.canRestart('news').allowed).toBe(false);
});

test('counts its attempts until one was open for long enough', async () => {
  await using supervisor = supervised({ cooldownMs: 0, stableAfterMs: 10_000 });
  const attempts: number[] = [];
  const open = async ({ attempt }: { attempt: number }) => {
    attempts.push(attempt);
    return new FakeChild();
  };
  for (const ms of [0, 9_999, 10_000, 0]) {
    const child = await supervisor.attempt('news', open);
    await pass(ms);
    child.end('stalled');
    await settled();
  }
  expect(attempts).toEqual([1, 2, 3, 1 + 1]);
});

describe('an abort of the caller', () => {
  test('rejects at once, is no failure, and ends what comes too late', async () => {
    await using supervisor = supervised({ breaker: { failureThreshold: 1 } });
    const controller = new AbortController();
    const late = Promise.withResolvers<FakeChild>();
    let given: AbortSignal | undefined;
    const open = ({ signal }: { signal: AbortSignal }) => {
      given = signal;
      return late.promise;
    };
    const attempt = supervisor.attempt('news', open, { signal: controller.signal });
    const rejected = expect(attempt).rejects.toBe('gone');
    await settled();
    controller.abort('gone');
    await rejected;
    expect(given?.reason).toBe('gone');
    expect(supervisor.canRestart('news')).toEqual({ allowed: true });
    const child = new FakeChild();
    late.resolve(child);
    await settled();
    expect(child.isGone).toBe(true);
  });

  test('before it opens nothing', async () => {
    const open = vi.fn(opening);
    await expect(supervised().attempt('news', open, { signal: AbortSignal.abort('before') })).rejects.toBe('before');
    expect(open).not.toHaveBeenCalled();
  });

  test('while it is open reaches what was opened by the signal', async () => {
    await using supervisor = supervised();
    const controller = new AbortController();
    const child = new FakeChild();
    await supervisor.attempt(
      'news',
      async ({ signal }) => {
        signal.addEventListener('abort', () => child.end('aborted'));
        return child;
      },
      {
        signal: controller.signal,
      },
    );
    controller.abort();
    await settled();
    expect(child.isGone).toBe(true);
    expect(supervisor.canRestart('news')).toEqual({ allowed: true });
  });
});

test('stop ends what attempts opened, and forgets the id', async () => {
  const supervisor = supervised();
  for (const _ of 'ab') await endBy(supervisor, 'stalled');
  const child = new FakeChild();
  await pass(30_000);
  await supervisor.attempt('news', async () => child);
  await supervisor.stop('news');
  expect(child.isGone).toBe(true);
  expect(supervisor.canRestart('news')).toEqual({ allowed: true });
});

test('close ends what is open and what is being opened', async () => {
  const supervisor = supervised();
  const child = new FakeChild();
  await supervisor.attempt('news', async () => child);
  const attempt = expect(supervisor.attempt('films', () => new Promise<FakeChild>(() => {}))).rejects.toBeInstanceOf(
    ClosedError,
  );
  await supervisor.close();
  await attempt;
  expect(child.isGone).toBe(true);
  await expect(supervisor.attempt('news', opening)).rejects.toBeInstanceOf(ClosedError);
  expect(vi.getTimerCount()).toBe(0);
});
