import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  ClosedError,
  HeartbeatTimeoutError,
  RestartRefusedError,
  ServiceAbandonedError,
  ServiceEndedError,
  Supervisor,
} from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { broken, Puppet, pass, settled, supervised } from './support.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Its run ignores its signal. */
const deaf = () => new Promise<void>(() => {});

describe('a service', () => {
  test('is starting until it says that it is ready', async () => {
    const { service, last } = new Puppet();
    const handle = supervised().start('push', service);
    expect(handle.state).toBe('starting');
    await settled();
    expect(handle.state).toBe('starting');
    expect(last().attempt).toBe(1);
    last().ready();
    expect(handle.status()).toMatchObject({ id: 'push', state: 'running', restarts: 0 });
    await handle.stop();
    expect(handle.state).toBe('stopped');
    await handle.done;
  });

  test.each([
    ['permanent', 'fails', 2, 'starting'],
    ['permanent', 'ends', 2, 'starting'],
    ['transient', 'fails', 2, 'starting'],
    ['transient', 'ends', 1, 'stopped'],
    ['temporary', 'fails', 1, 'failed'],
    ['temporary', 'ends', 1, 'stopped'],
  ] as const)('that is %s and %s has had %i runs then', async (restart, how, count, state) => {
    await using supervisor = supervised();
    const { runs, service, last } = new Puppet();
    const handle = supervisor.start('push', service, { restart });
    await settled();
    if (how === 'fails') last().fail();
    else last().end();
    await settled();
    expect([runs.length, handle.state]).toEqual([count, state]);
    if (state === 'failed') await expect(handle.done).rejects.toBe(broken);
  });

  test('that throws at once has failed like one that rejects', async () => {
    await using supervisor = supervised();
    const handle = supervisor.start(
      'push',
      () => {
        throw broken;
      },
      { restart: 'temporary' },
    );
    await expect(handle.done).rejects.toBe(broken);
    expect(handle.status().lastError).toBe(broken);
  });

  test('that ends by itself though it is permanent tells so', async () => {
    await using supervisor = supervised();
    const failures: unknown[] = [];
    supervisor.on('failure', (_, error) => failures.push(error));
    const { service, last } = new Puppet();
    supervisor.start('push', service);
    await settled();
    last().end();
    await settled();
    expect(failures).toEqual([expect.any(ServiceEndedError)]);
  });

  test('of an id that runs already is refused, and one that has ended makes room', async () => {
    await using supervisor = supervised();
    const { service, last } = new Puppet();
    supervisor.start('push', service, { restart: 'transient' });
    expect(() => supervisor.start('push', service)).toThrow('there is a service "push" already');
    await settled();
    last().end();
    await settled();
    expect(supervisor.start('push', service).state).toBe('starting');
  });

  test('whose run is over says nothing any more: not ready, no beat', async () => {
    await using supervisor = supervised({ backoff: { minMs: 1_000, jitter: 'none' } });
    const { service, runs } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    runs[0]?.fail();
    await settled();
    runs[0]?.ready();
    runs[0]?.beat();
    expect(handle.state).toBe('backing-off');
    await pass(1_000);
    runs[0]?.ready();
    expect(handle.state).toBe('starting');
  });
});

describe('the guards', () => {
  test('the backoff grows with each failure and is full jitter of a bound', async () => {
    await using supervisor = supervised({ backoff: { minMs: 1_000, maxMs: 5_000, jitter: 'none' } });
    const { runs, service, last } = new Puppet();
    const handle = supervisor.start('push', service);
    for (const ms of [1_000, 2_000, 4_000, 5_000, 5_000]) {
      await settled();
      last().fail();
      await settled();
      const count = runs.length;
      expect(handle.status()).toMatchObject({ state: 'backing-off', refusal: { why: 'backoff', retryAfterMs: ms } });
      expect(supervisor.canRestart('push')).toEqual({ allowed: false, why: 'backoff', retryAfterMs: ms });
      await pass(ms - 1);
      expect(runs.length).toBe(count);
      await pass(1);
      expect(runs.length).toBe(count + 1);
    }
    vi.spyOn(Math, 'random').mockReturnValue(0.25);
    await using jittery = supervised({ backoff: { minMs: 1_000 } });
    const other = new Puppet();
    jittery.start('push', other.service);
    await settled();
    other.last().fail();
    await settled();
    expect(jittery.canRestart('push')).toMatchObject({ retryAfterMs: 250 });
    vi.mocked(Math.random).mockRestore();
  });

  test('the backoff begins anew only after the service was ready and stable', async () => {
    await using supervisor = supervised({ backoff: { minMs: 1_000, jitter: 'none' }, stableAfterMs: 10_000 });
    const { service, last } = new Puppet();
    supervisor.start('push', service);
    const failAfter = async (ms: number, isReady: boolean) => {
      await settled();
      if (isReady) last().ready();
      await pass(ms);
      last().fail();
      await settled();
      const verdict = supervisor.canRestart('push');
      await pass(60_000);
      return 'retryAfterMs' in verdict ? verdict.retryAfterMs : 0;
    };
    expect(await failAfter(0, false)).toBe(1_000);
    expect(await failAfter(60_000, false)).toBe(2_000);
    expect(await failAfter(9_999, true)).toBe(4_000);
    expect(await failAfter(10_000, true)).toBe(1_000);
    expect(last().attempt).toBe(2);
  });

  test('the cooldown is the least time between two restarts of one service; the first restart has none', async () => {
    await using supervisor = supervised({ cooldownMs: 30_000 });
    const { runs, service, last } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    last().fail();
    await settled();
    expect(runs.length).toBe(2);
    await pass(10_000);
    last().fail();
    await settled();
    expect(handle.status()).toMatchObject({ state: 'blocked', refusal: { why: 'cooldown', retryAfterMs: 20_000 } });
    await pass(19_999);
    expect(runs.length).toBe(2);
    await pass(1);
    expect([runs.length, handle.status().restarts]).toEqual([3, 2]);
  });

  test('so many restarts of all services are a storm: it is told of, and ends by itself', async () => {
    await using supervisor = supervised({ intensity: 4, periodMs: 60_000 });
    const told: unknown[] = [];
    supervisor.on('storm', (ms) => told.push(['storm', ms])).on('resumed', () => told.push('resumed'));
    const puppets = ['a', 'b', 'c', 'd', 'e'].map((id) => ({ id, ...new Puppet() }));
    for (const { id, service } of puppets) supervisor.start(id, service);
    await settled();
    for (const { last } of puppets) {
      last().fail();
      await pass(1_000);
    }
    expect(puppets.map(({ runs }) => runs.length)).toEqual([2, 2, 2, 2, 1]);
    expect(supervisor.canRestart('e')).toMatchObject({ why: 'storm' });
    expect(told).toEqual([['storm', 57_000]]);
    await pass(55_000);
    expect(puppets.map(({ runs }) => runs.length)).toEqual([2, 2, 2, 2, 2]);
    expect(told.length).toBe(1);
    await pass(3_000);
    expect(told.at(-1)).toBe('resumed');
  });

  test('the circuit of a service opens after its failures, and one run is the probe', async () => {
    await using supervisor = supervised({ breaker: { failureThreshold: 2, cooldownMs: 120_000 } });
    const { runs, service, last } = new Puppet();
    const handle = supervisor.start('push', service);
    for (const _ of 'ab') {
      await settled();
      last().fail();
    }
    await settled();
    expect(handle.status()).toMatchObject({
      state: 'blocked',
      refusal: { why: 'circuit-open', retryAfterMs: 120_000 },
    });
    await pass(120_000);
    expect(runs.length).toBe(3);
    last().fail();
    await settled();
    expect(handle.status()).toMatchObject({ refusal: { why: 'circuit-open', retryAfterMs: 120_000 } });
    await pass(120_000);
    last().ready();
    await pass(60_000);
    last().fail();
    await settled();
    expect(runs.length).toBe(5);
  });

  test('the first that refuses is named: circuit, cooldown, storm, backoff', async () => {
    const breaker = { failureThreshold: 2, cooldownMs: 10_000 };
    const backoff = { minMs: 40_000, jitter: 'none' } as const;
    await using supervisor = supervised({ breaker, cooldownMs: 80_000, intensity: 1, periodMs: 90_000, backoff });
    const { service, last } = new Puppet();
    supervisor.start('push', service);
    const why = () => {
      const verdict = supervisor.canRestart('push');
      return verdict.allowed || verdict.why;
    };
    await settled();
    last().fail();
    await settled();
    expect(why()).toBe('backoff');
    await pass(40_000);
    last().fail();
    await settled();
    expect(why()).toBe('circuit-open');
    await pass(10_000);
    expect(why()).toBe('cooldown');
    await pass(70_000);
    expect(why()).toBe('storm');
  });

  test('one that fails for ever is restarted as often as they allow and costs nothing between', async () => {
    await using supervisor = new Supervisor();
    let calls = 0;
    supervisor.start('dead', async () => {
      calls++;
      throw broken;
    });
    const { service, last } = new Puppet();
    supervisor.start('well', service);
    await settled();
    last().ready();
    await pass(3_600_000);
    // 5 failures open the circuit, and a probe each two minutes follows.
    expect(calls).toBeGreaterThan(20);
    expect(calls).toBeLessThan(40);
    expect(vi.getTimerCount()).toBeLessThanOrEqual(2);
    expect(supervisor.status().map(({ id, restarts }) => [id, restarts > 0])).toEqual([
      ['dead', true],
      ['well', false],
    ]);
  });
});

describe('the heartbeat', () => {
  const heartbeat = { timeoutMs: 1_000, misses: 3 };

  test('one that has never beaten is measured from its start, with the grace', async () => {
    await using supervisor = supervised({ heartbeat, startGraceMs: 10_000 });
    const { runs, service } = new Puppet();
    supervisor.start('push', service);
    await pass(9_999);
    expect(runs.length).toBe(1);
    await pass(1);
    expect(runs[0]?.signal.reason).toBeInstanceOf(HeartbeatTimeoutError);
    expect(runs.length).toBe(2);
  });

  test('three missed beats restart a service, and each beat begins anew', async () => {
    await using supervisor = supervised({ heartbeat });
    const failures: unknown[] = [];
    supervisor.on('failure', (_, error) => failures.push(error));
    const { runs, service, last } = new Puppet();
    supervisor.start('push', service);
    await settled();
    for (let n = 0; n < 20; n++) {
      last().beat();
      await pass(2_999);
    }
    expect(runs.length).toBe(1);
    await pass(1);
    expect(runs.length).toBe(2);
    expect(failures).toEqual([
      expect.objectContaining({ id: 'push', message: 'push gave no sign of life for 3000 ms' }),
    ]);
  });

  test('a stable time within which a hang is not noticed is refused', () => {
    expect(() => new Supervisor({ heartbeat, stableAfterMs: 3_000, startGraceMs: 0 })).toThrow(
      'stableAfterMs must be more than the 3000 ms after which a service that hangs is noticed (heartbeat.timeoutMs × misses, startGraceMs), received 3000',
    );
  });
});

describe('stop', () => {
  test('during the start ends it', async () => {
    const { service, runs } = new Puppet();
    const handle = supervised().start('push', service);
    const stopped = handle.stop();
    await settled();
    await stopped;
    await handle.done;
    expect(handle.state).toBe('stopped');
    expect(runs.every(({ signal }) => signal.aborted)).toBe(true);
  });

  test('during the backoff ends that', async () => {
    const handle = supervised({ backoff: { minMs: 5_000, jitter: 'none' } }).start('push', () =>
      Promise.reject(broken),
    );
    await settled();
    expect(handle.state).toBe('backing-off');
    await handle.stop();
    expect([handle.state, vi.getTimerCount()]).toEqual(['stopped', 0]);
  });

  test('is no failure, whatever the service throws then', async () => {
    const supervisor = supervised();
    const failures: unknown[] = [];
    supervisor.on('failure', (_, error) => failures.push(error));
    const handle = supervisor.start('push', async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw broken;
    });
    await settled();
    await handle.stop();
    await handle.done;
    expect(failures).toEqual([]);
  });

  test('names a service that ignores its signal, and leaves it after a bound', async () => {
    const supervisor = supervised({ stopTimeoutMs: 4_000 });
    const handle = supervisor.start('deaf', deaf);
    await settled();
    const stopped = expect(handle.stop()).rejects.toThrow(
      'deaf ignores its signal: it still runs 4000 ms after it was aborted',
    );
    await pass(4_000);
    await stopped;
    await expect(handle.done).rejects.toBeInstanceOf(ServiceAbandonedError);
    expect(handle.state).toBe('failed');
  });

  test('of one that was stopped, or never started, does nothing', async () => {
    const supervisor = supervised();
    const { service } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    await Promise.all([handle.stop(), handle.stop()]);
    await handle.stop();
    await supervisor.stop('never');
    expect(supervisor.status()).toEqual([]);
  });

  test('close ends all, and nothing can be started any more', async () => {
    const supervisor = supervised();
    const puppets = [new Puppet(), new Puppet()];
    const handles = puppets.map(({ service }, index) => supervisor.start(`s${index}`, service));
    await settled();
    await supervisor.close();
    expect(handles.map(({ state }) => state)).toEqual(['stopped', 'stopped']);
    expect(() => supervisor.start('push', deaf)).toThrow(ClosedError);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('restart', () => {
  test('ends the run and begins another, which is no failure', async () => {
    await using supervisor = supervised();
    const { runs, service, last } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    last().ready();
    await handle.restart('by hand');
    await settled();
    expect(runs[0]?.signal.reason).toBe('by hand');
    expect([runs.length, handle.state, last().attempt, handle.status().restarts]).toEqual([2, 'starting', 1, 1]);
  });

  test('during the start does not wait for itself', async () => {
    await using supervisor = supervised();
    const { runs, service } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    await Promise.all([handle.restart(), handle.restart()]);
    await settled();
    expect([runs.length, handle.state]).toEqual([2, 'starting']);
  });

  test('before its function was called does not call it for that', async () => {
    await using supervisor = supervised();
    const { runs, service } = new Puppet();
    const handle = supervisor.start('push', service);
    await handle.restart();
    await settled();
    expect([runs.length, handle.state, handle.status().restarts]).toEqual([1, 'starting', 1]);
  });

  test('is refused by a guard, and what runs goes on', async () => {
    await using supervisor = supervised({ cooldownMs: 30_000 });
    const { runs, service } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    await handle.restart();
    await settled();
    const error = await handle.restart().catch((error) => error);
    expect(error).toBeInstanceOf(RestartRefusedError);
    expect(error).toMatchObject({ id: 'push', why: 'cooldown', retryAfterMs: 30_000, retryable: true });
    expect(supervisor.canRestart('push')).toEqual({ allowed: false, why: 'cooldown', retryAfterMs: 30_000 });
    expect([runs.length, runs[1]?.signal.aborted]).toEqual([2, false]);
  });

  test('of the probe of its own circuit is possible', async () => {
    await using supervisor = supervised({ breaker: { failureThreshold: 1, cooldownMs: 1_000 } });
    const { runs, service, last } = new Puppet();
    const handle = supervisor.start('push', service);
    await settled();
    last().fail();
    await pass(1_000);
    expect(runs.length).toBe(2);
    await handle.restart();
    await settled();
    last().ready();
    expect([runs.length, handle.state]).toEqual([3, 'running']);
  });

  test('while it stops, or after, tells that it is over', async () => {
    const { service } = new Puppet();
    const handle = supervised().start('push', service);
    await settled();
    const stopped = handle.stop();
    await expect(handle.restart()).rejects.toBeInstanceOf(ClosedError);
    await stopped;
    await expect(handle.restart()).rejects.toBeInstanceOf(ClosedError);
  });

  test('before a stop is over with that', async () => {
    const { service } = new Puppet();
    const handle = supervised().start('push', service);
    await settled();
    const restarted = expect(handle.restart()).rejects.toBeInstanceOf(ClosedError);
    await handle.stop();
    await restarted;
    expect(handle.state).toBe('stopped');
  });

  test('of a service that ignores its signal begins another after the bound, and tells of the one', async () => {
    await using supervisor = supervised({ stopTimeoutMs: 4_000 });
    const failures: unknown[] = [];
    supervisor.on('failure', (_, error) => failures.push(error));
    let calls = 0;
    const handle = supervisor.start('deaf', (context) => (calls++ === 0 ? deaf() : new Puppet().service(context)));
    await settled();
    const restarted = handle.restart();
    await pass(3_999);
    expect(calls).toBe(1);
    await pass(1);
    await restarted;
    await settled();
    expect([calls, failures]).toEqual([2, [expect.any(ServiceAbandonedError)]]);
  });

  test('of an unknown id says what to do', async () => {
    await expect(supervised().restart('none')).rejects.toThrow('there is no service "none"; start it first');
  });
});

describe('bad input', () => {
  test.each([
    [{ intensity: 0 }, 'intensity must be a whole number at least 1, received 0'],
    [{ periodMs: 0 }, 'periodMs must be above 0 and finite, received 0'],
    [{ cooldownMs: -1 }, 'cooldownMs must be a number at least 0, received -1'],
    [{ backoff: { minMs: 10, maxMs: 5 } }, 'backoff.maxMs must be a number at least 10 and finite'],
    [{ backoff: { factor: 0.5 } }, 'backoff.factor must be a number at least 1 and finite'],
    [{ backoff: { jitter: 'some' } }, 'backoff.jitter must be "full" or "none", received "some"'],
    [{ heartbeat: {} }, 'heartbeat.timeoutMs must be a number, received undefined'],
    [{ heartbeat: { timeoutMs: 5, misses: 0.5 } }, 'heartbeat.misses must be a whole number at least 1, received 0.5'],
    [{ breaker: { failureThreshold: 0 } }, 'failureThreshold must be a whole number at least 1, received 0'],
    [{ stopTimeoutMs: '5' }, 'stopTimeoutMs must be a number, received "5"'],
    [{ graceMs: 5 }, 'Supervisor has no option graceMs'],
  ])('%o is refused: %s', (options, message) => {
    expect(() => new Supervisor(options as never)).toThrow(message);
  });

  test.each([
    ['', deaf, {}, 'id must be a string that is not empty, received ""'],
    ['push', 'deaf', {}, 'service must be a function, received "deaf"'],
    [
      'push',
      deaf,
      { restart: 'always' },
      'restart must be "permanent" or "transient" or "temporary", received "always"',
    ],
    ['push', deaf, { mode: 'permanent' }, 'start has no option mode'],
  ])('start(%o, %o, %o) is refused: %s', (id, service, options, message) => {
    expect(() => supervised().start(id, service as never, options as never)).toThrow(message);
  });
});

test('what happens is published on the channels', async () => {
  const told: unknown[] = [];
  const names = ['created', 'state', 'restart', 'failure', 'refused', 'storm', 'resumed', 'closed'];
  const listeners = names.map((name) => [`holdfast:supervisor:${name}`, () => told.push(name)] as const);
  for (const [channel, listener] of listeners) subscribe(channel, listener);
  const supervisor = supervised({ intensity: 1 });
  const { service, last } = new Puppet();
  supervisor.start('push', service);
  for (const _ of 'ab') {
    await settled();
    last().fail();
  }
  await pass(60_000);
  await supervisor.close();
  for (const [channel, listener] of listeners) unsubscribe(channel, listener);
  expect(told).toEqual(
    expect.arrayContaining(['created', 'state', 'failure', 'restart', 'storm', 'refused', 'resumed', 'closed']),
  );
  expect(told[0]).toBe('created');
  expect(told.at(-1)).toBe('closed');
});
