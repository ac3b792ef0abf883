import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  ClosedError,
  RestartRefusedError,
  type ServiceContext,
  ServiceEndedError,
  SourceEndedError,
  type SupervisorOptions,
} from 'holdfast';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';
import { broken, Puppet, pass, settled, supervised } from './support.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const COOLDOWN_MS = 1_000;
const fragile: SupervisorOptions = { breaker: { failureThreshold: 1, cooldownMs: COOLDOWN_MS } };
const failing = () => Promise.reject(broken);
const opening = async () => new FakeChild();

describe('an attempt whose signal aborts', () => {
  test.each([
    ['by AbortSignal.timeout', new DOMException('late', 'TimeoutError'), true],
    ['since its hub found the source to be over', new SourceEndedError('news', { cause: undefined }), true],
    ['as its caller leaves', new Error('left'), false],
  ])('%s while it opens, and while it is open: a failure or not', async (_, reason, isFailure) => {
    await using supervisor = supervised();
    const failures: unknown[] = [];
    supervisor.on('failure', (_id, error) => failures.push(error));

    const early = new AbortController();
    const opened = supervisor.attempt('early', () => new Promise<FakeChild>(() => {}), early).catch((error) => error);
    early.abort(reason);
    expect(await opened).toBe(reason);
    expect(failures).toEqual(isFailure ? [reason] : []);

    const late = new AbortController();
    const child = await supervisor.attempt('late', opening, late);
    late.abort(reason);
    child.end('aborted');
    await settled();
    expect(failures).toEqual(isFailure ? [reason, reason] : []);
  });

  test('leaves nothing that listens to it', async () => {
    await using supervisor = supervised();
    const { signal } = new AbortController();
    const [added, removed] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')];
    (await supervisor.attempt('news', opening, { signal })).end('exited');
    await settled();
    expect(added.mock.calls.length).toBeGreaterThan(0);
    expect(removed.mock.calls.length).toBe(added.mock.calls.length);
  });
});

test('what an attempt failed with is the cause of the refusal that follows, and tells how its child ended', async () => {
  await using supervisor = supervised({ backoff: { minMs: 500, jitter: 'none' } });
  (await supervisor.attempt('news', opening)).end('exited');
  await settled();
  const error = await supervisor.attempt('news', opening).catch((error) => error);
  expect(error).toBeInstanceOf(RestartRefusedError);
  expect(error.cause).toBeInstanceOf(ServiceEndedError);
  expect(error.cause.cause).toEqual({ reason: 'exited' });
});

test('a closed that resolves with nothing is an end that was not wanted', async () => {
  await using supervisor = supervised();
  const failures: string[] = [];
  supervisor.on('failure', (_, error) => failures.push((error as Error).message));
  await supervisor.attempt('news', async () => ({ closed: Promise.resolve(undefined as never) }));
  await settled();
  expect(failures).toEqual(['news ended by itself, which was not wanted: closed without a reason']);
});

describe('canRestart says what attempt would', () => {
  test('while the probe is open', async () => {
    await using supervisor = supervised(fragile);
    await supervisor.attempt('news', failing).catch(() => {});
    await pass(COOLDOWN_MS);
    const probe = await supervisor.attempt('news', opening);
    expect(supervisor.canRestart('news')).toMatchObject({ allowed: false, why: 'circuit-open' });
    await expect(supervisor.attempt('news', opening)).rejects.toBeInstanceOf(RestartRefusedError);
    probe.end('exited');
  });

  test('while one is open that was a restart', async () => {
    await using supervisor = supervised({ cooldownMs: 30_000 });
    await supervisor.attempt('news', failing).catch(() => {});
    await supervisor.attempt('news', opening);
    expect(supervisor.canRestart('news')).toEqual({ allowed: true });
    await supervisor.attempt('news', opening);
  });
});

describe('a probe', () => {
  test('that is aborted leaves its place to the next', async () => {
    await using supervisor = supervised(fragile);
    await supervisor.attempt('news', failing).catch(() => {});
    await pass(COOLDOWN_MS);
    const leaving = new AbortController();
    const probe = await supervisor.attempt('news', opening, leaving);
    leaving.abort();
    probe.end('aborted');
    await settled();
    expect(supervisor.canRestart('news')).toEqual({ allowed: true });
  });

  test('that goes on for ever and never becomes healthy is over after startGraceMs and stableAfterMs', async () => {
    await using supervisor = supervised({ ...fragile, startGraceMs: 200, stableAfterMs: 300 });
    await supervisor.attempt('news', failing).catch(() => {});
    await pass(COOLDOWN_MS);
    const endless = ({ signal }: { signal: AbortSignal }) =>
      new Promise<FakeChild>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    void supervisor.attempt('news', endless).catch(() => {});
    await pass(499);
    expect(supervisor.canRestart('news')).toMatchObject({ allowed: false });
    await pass(1 + COOLDOWN_MS);
    expect(supervisor.canRestart('news')).toEqual({ allowed: true });
  });

  test('whose service is restarted by hand while it ends is followed by that run', async () => {
    await using supervisor = supervised({
      ...fragile,
      ...{ heartbeat: { timeoutMs: 20, misses: 1 }, startGraceMs: 20, stableAfterMs: 500 },
    });
    const calls: number[] = [];
    const slow = ({ signal, attempt }: { signal: AbortSignal; attempt: number }) => {
      calls.push(attempt);
      if (calls.length === 1) return failing();
      return new Promise<void>((resolve) => signal.addEventListener('abort', () => setTimeout(resolve, 100)));
    };
    await supervisor.start('push', slow, { restart: 'temporary' }).done.catch(() => {});
    await pass(COOLDOWN_MS);
    const handle = supervisor.start('push', slow, { restart: 'temporary' });
    await pass(50);
    const restarted = handle.restart();
    await pass(100);
    await restarted;
    expect(calls).toHaveLength(3);
    await pass(1_000);
    await expect(handle.done).rejects.toThrow('no sign of life');
    await pass(COOLDOWN_MS);
    expect(supervisor.canRestart('push')).toEqual({ allowed: true });
  });

  test('that is restarted by hand hands its place on, and closes the circuit when it is healthy', async () => {
    const transitions: string[] = [];
    const told = (message: unknown) => void transitions.push((message as { to: string }).to);
    subscribe('holdfast:circuit-breaker:transition', told);
    onTestFinished(() => void unsubscribe('holdfast:circuit-breaker:transition', told));
    await using supervisor = supervised({ ...fragile, stableAfterMs: 100 });
    const { service, last, runs } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    last().fail();
    await pass(COOLDOWN_MS);
    await handle.restart();
    await settled();
    expect(runs).toHaveLength(3);
    last().ready();
    await pass(100);
    expect(transitions).toEqual(['open', 'half-open', 'closed']);
    expect(handle.status().lastError).toBe(broken);
  });

  test('that was granted to a restart and stopped before it began leaves its place to the next', async () => {
    await using supervisor = supervised(fragile);
    // It keeps what is known of the id.
    await supervisor.attempt('push', opening);
    const { service, last } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    last().fail();
    await pass(COOLDOWN_MS);
    handle.restart().catch(() => {});
    await handle.stop();
    expect(supervisor.canRestart('push')).toEqual({ allowed: true });
  });

  test.each([1, 2])('of %i that was healthy and then failed opens the circuit again', async (halfOpenProbes) => {
    const circuit = { failureThreshold: 1, cooldownMs: COOLDOWN_MS, halfOpenProbes };
    await using supervisor = supervised({ breaker: circuit, stableAfterMs: 100 });
    const { service, last, runs } = new Puppet();
    supervisor.start('push', service);
    await settled();
    last().fail();
    await pass(COOLDOWN_MS);
    expect(runs).toHaveLength(2);
    last().ready();
    await pass(100);
    last().fail();
    await settled();
    expect(supervisor.canRestart('push')).toMatchObject({ why: 'circuit-open', retryAfterMs: COOLDOWN_MS });
  });
});

test('one that is ready only after it was aborted, or beats after its end, changes nothing', async () => {
  await using supervisor = supervised({ heartbeat: { timeoutMs: 100 }, startGraceMs: 100, stableAfterMs: 400 });
  const { service, last } = new Puppet();
  const handle = supervisor.start('push', service, { restart: 'transient' });
  await settled();
  const run = last();
  run.end();
  await handle.done;
  run.beat();
  run.ready();
  expect(handle.state).toBe('stopped');
  expect(vi.getTimerCount()).toBe(0);
});

test('one that is being stopped does not become ready, nor can it be restarted', async () => {
  await using supervisor = supervised();
  const told = vi.fn();
  supervisor.on('restart', told);
  let run: ServiceContext | undefined;
  const handle = supervisor.start('push', async (context) => {
    run = context;
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
  await settled();
  const stopped = handle.stop();
  run?.ready();
  expect(handle.state).toBe('starting');
  await expect(handle.restart()).rejects.toBeInstanceOf(ClosedError);
  await pass(100);
  await stopped;
  expect(told).not.toHaveBeenCalled();
});

test('a restart by hand is no failure to remember', async () => {
  await using supervisor = supervised();
  const { service } = new Puppet();
  const handle = supervisor.start('push', service);
  await settled();
  await handle.restart();
  expect(handle.status()).toEqual({ id: 'push', state: 'starting', restarts: 1, lastError: undefined });
});

test.each([0, 1, 2, 3, 4, 5, 6, 7, 8])('an abort %i turns after the opening ends what was opened', async (turns) => {
  await using supervisor = supervised();
  const leaving = new AbortController();
  const child = new FakeChild();
  const open = async ({ signal }: { signal: AbortSignal }) => {
    signal.addEventListener('abort', () => child.end('aborted'));
    void (async () => {
      for (let turn = 0; turn < turns; turn++) await undefined;
      leaving.abort();
    })();
    return child;
  };
  await supervisor.attempt('news', open, leaving).catch(() => {});
  await settled();
  expect(child.isGone).toBe(true);
});

test('a wait is told of once, however early its timer is', async () => {
  vi.useRealTimers();
  await using supervisor = supervised({ backoff: { minMs: 33.3, maxMs: 33.3, jitter: 'none' } });
  let runs = 0;
  const told: number[] = [];
  supervisor.on('refused', () => told.push(runs));
  const { done } = supervisor.start(
    'push',
    async () => {
      if (++runs <= 30) throw broken;
    },
    { restart: 'transient' },
  );
  await done;
  expect(told).not.toEqual([]);
  // On a busy host a wait may be over before the supervisor comes to ask.
  expect(told).toEqual([...new Set(told)]);
});

describe('a storm', () => {
  test('that follows one whose end was not told yet is told of after that end', async () => {
    await using supervisor = supervised({ intensity: 1, periodMs: 1_000 });
    const told: string[] = [];
    supervisor.on('storm', () => told.push('storm')).on('resumed', () => told.push('resumed'));
    const fail = () => supervisor.attempt('news', failing).catch(() => {});
    await fail();
    await fail();
    // As if the event loop had been busy until after the end.
    const { now } = performance;
    const ahead = vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + 1_001);
    await fail();
    ahead.mockRestore();
    await pass(10_000);
    expect(told).toEqual(['storm', 'resumed', 'storm', 'resumed']);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('does not keep its timer after a close', async () => {
    const supervisor = supervised({ intensity: 1 });
    await supervisor.attempt('news', failing).catch(() => {});
    await supervisor.attempt('news', failing).catch(() => {});
    expect(vi.getTimerCount()).toBe(1);
    await supervisor.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
