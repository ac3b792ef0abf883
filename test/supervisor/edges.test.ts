import { Supervisor, type SupervisorOptions } from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';
import { Uncaught } from '../support/uncaught.ts';
import { broken, Puppet, pass, settled, supervised } from './support.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('an id is given on', () => {
  test('a service that is started when its former has stopped is not forgotten by that stop', async () => {
    const supervisor = supervised();
    const [first, second] = [new Puppet(), new Puppet()];
    const { done } = supervisor.start('push', first.service);
    await settled();
    const again = done.then(() => supervisor.start('push', second.service));
    await supervisor.stop('push');
    await again;
    await settled();
    expect(supervisor.status()).toMatchObject([{ id: 'push', state: 'starting' }]);
    await supervisor.close();
    expect(second.last().signal.aborted).toBe(true);
  });

  test('the handle of a service that is over does nothing to the next of its id', async () => {
    await using supervisor = supervised();
    const [first, second] = [new Puppet(), new Puppet()];
    const old = supervisor.start('push', first.service, { restart: 'transient' });
    await settled();
    first.last().end();
    await old.done;
    const handle = supervisor.start('push', second.service);
    await settled();
    await old.stop();
    expect([handle.state, second.last().signal.aborted]).toEqual(['starting', false]);
  });

  test('what is opened while the id is being stopped is ended by that, refused, or ended by close', async () => {
    const supervisor = supervised();
    const [slow, next] = [new FakeChild(), new FakeChild()];
    slow.onDispose = async () => {
      setTimeout(() => slow.end('terminated'), 100);
      await slow.closed;
    };
    await supervisor.attempt('news', async () => slow);
    const stopped = supervisor.stop('news');
    const isOpen = await supervisor
      .attempt('news', async () => next)
      .then(
        () => true,
        () => false,
      );
    await pass(100);
    await stopped;
    await supervisor.close();
    expect(next.isGone).toBe(isOpen);
  });

  test('one that was abandoned is forgotten when it is stopped', async () => {
    const supervisor = supervised({ stopTimeoutMs: 1_000 });
    supervisor.start('deaf', () => new Promise<void>(() => {}));
    await settled();
    const stopped = expect(supervisor.stop('deaf')).rejects.toMatchObject({ code: 'HOLDFAST_SERVICE_ABANDONED' });
    await pass(1_000);
    await stopped;
    expect(supervisor.status()).toEqual([]);
    await supervisor.stop('deaf');
  });
});

describe('functions among the options that fail', () => {
  const cooldowns = [1_000, 2_000];
  test.each<[string, SupervisorOptions['breaker']]>([
    ['isFailure', { isFailure: (error) => (error as { code: string }).code !== 'passing' }],
    ['cooldownMs', { failureThreshold: 1, cooldownMs: (openings) => cooldowns[openings - 1] as number }],
  ])('%s: the service is not dead in silence', async (_, breaker) => {
    using uncaught = new Uncaught();
    await using supervisor = supervised({ breaker });
    let calls = 0;
    const handle = supervisor.start('push', () => {
      calls++;
      return Promise.reject(undefined);
    });
    await pass(1_000);
    const before = calls;
    await pass(10_000);
    expect(calls > before || ['failed', 'stopped', 'blocked'].includes(handle.state)).toBe(true);
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    expect(uncaught.errors.length).toBeGreaterThan(0);
  });

  test('isFailure: the end of what an attempt opened is no unhandled rejection, and its caller gets its own error', async () => {
    using uncaught = new Uncaught();
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    const isFailure = () => {
      throw new Error('isFailure is broken');
    };
    const supervisor = supervised({ breaker: { isFailure } });
    const child = new FakeChild();
    await supervisor.attempt('news', async () => child);
    child.end('exited');
    await settled();
    const error = await supervisor.attempt('films', () => Promise.reject(broken)).catch((error) => error);
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect([unhandled.mock.calls.length, error]).toEqual([0, broken]);
    expect(uncaught.errors).not.toEqual([]);
  });
});

describe('options that contradict each other', () => {
  test('no grace and no stable time work, or are refused when they are given', async () => {
    const make = () => new Supervisor({ startGraceMs: 0, stableAfterMs: 0 });
    let supervisor: Supervisor;
    try {
      supervisor = make();
    } catch (error) {
      expect((error as Error).message).toMatch(/stableAfterMs|startGraceMs/);
      return;
    }
    expect(supervisor.start('push', new Puppet().service).state).toBe('starting');
    await supervisor.attempt('news', async () => new FakeChild());
    await supervisor.close();
  });

  test('a stable time within the grace, in which a hang is not noticed either, is refused', () => {
    const heartbeat = { timeoutMs: 5_000 };
    expect(() => new Supervisor({ heartbeat, stableAfterMs: 20_000, startGraceMs: 30_000 })).toThrow(/stableAfterMs/);
  });
});

test('a service does not become healthy between its abort and its end', async () => {
  const heartbeat = { timeoutMs: 5_000 };
  const supervisor = supervised({ heartbeat, startGraceMs: 0, stableAfterMs: 20_000 });
  const attempts: number[] = [];
  supervisor.start('deaf', async ({ attempt, ready }) => {
    attempts.push(attempt);
    ready();
    await new Promise<void>(() => {});
  });
  await pass(110_000);
  expect(attempts).toEqual([1, 2, 3, 4, 5]);
});

test('a probe that is ready late and then healthy closes its circuit', async () => {
  const breaker = { failureThreshold: 1, cooldownMs: 120_000 };
  await using supervisor = supervised({ breaker, startGraceMs: 1_000, stableAfterMs: 10_000 });
  const { service, last } = new Puppet();
  supervisor.start('push', service);
  await settled();
  last().fail();
  await pass(120_000);
  await pass(5_000);
  last().ready();
  await pass(10_000);
  expect(supervisor.canRestart('push')).toEqual({ allowed: true });
});

describe('a restart by hand', () => {
  test('that the storm overtook is what canRestart tells of', async () => {
    await using supervisor = supervised({ intensity: 1, periodMs: 60_000 });
    const [a, b] = [new Puppet(), new Puppet()];
    const handles = [supervisor.start('a', a.service), supervisor.start('b', b.service)] as const;
    await settled();
    for (const handle of handles) handle.restart().catch(() => {});
    await settled();
    const [, { state }] = handles;
    if (state === 'blocked') expect(supervisor.canRestart('b')).toMatchObject({ allowed: false, why: 'storm' });
  });

  test('that is allowed does not end what then may not begin again', async () => {
    await using supervisor = supervised({ intensity: 1, periodMs: 60_000 });
    const [a, b] = [new Puppet(), new Puppet()];
    const handles = [supervisor.start('a', a.service), supervisor.start('b', b.service)] as const;
    await settled();
    for (const { last } of [a, b]) last().ready();
    for (const handle of handles) handle.restart().catch(() => {});
    await settled();
    expect(handles.map(({ state }) => state)).not.toContain('blocked');
  });
});

describe('stop and close', () => {
  test('wait for what an attempt opened, also if it can only be ended by its signal', async () => {
    const supervisor = supervised();
    const child = { closed: Promise.resolve({ reason: '' }) };
    const isGone = vi.fn();
    await supervisor.attempt('news', async ({ signal }) => {
      child.closed = new Promise((resolve) => {
        const end = () => {
          isGone();
          resolve({ reason: 'aborted' });
        };
        signal.addEventListener('abort', () => setTimeout(end, 100));
      });
      return child;
    });
    const stopped = supervisor.stop('news').then(() => isGone.mock.calls.length);
    await pass(100);
    expect(await stopped).toBe(1);
  });

  test('wait for what is being opened', async () => {
    const supervisor = supervised();
    const isGone = vi.fn();
    const open = ({ signal }: { signal: AbortSignal }) =>
      new Promise<FakeChild>((_, reject) => {
        const end = () => {
          isGone();
          reject(signal.reason);
        };
        signal.addEventListener('abort', () => setTimeout(end, 100));
      });
    const attempt = supervisor.attempt('news', open).catch(() => {});
    await settled();
    const closed = supervisor.close().then(() => isGone.mock.calls.length);
    await pass(100);
    await attempt;
    expect(await closed).toBe(1);
  });

  test('wait for a bounded time for what does not end', async () => {
    const supervisor = supervised({ stopTimeoutMs: 1_000 });
    const child = new FakeChild();
    child.onDispose = () => new Promise(() => {});
    await supervisor.attempt('news', async () => child);
    const settledStop = vi.fn();
    supervisor.stop('news').then(settledStop, settledStop);
    await pass(60_000);
    expect(settledStop).toHaveBeenCalledOnce();
  });

  test.each([0, 1, 2, 3, 4, 5])('%i turns after it was opened leave nothing open', async (turns) => {
    const supervisor = supervised();
    const late = Promise.withResolvers<FakeChild>();
    const attempt = supervisor.attempt('news', () => late.promise).catch(() => {});
    await undefined; // it is being opened from here on
    const child = new FakeChild();
    late.resolve(child);
    for (let turn = 0; turn < turns; turn++) await undefined;
    await supervisor.close();
    await attempt;
    await settled();
    expect(child.isGone).toBe(true);
  });

  test.each(['stop', 'abort'])('an end after %s is no failure, whatever its reason says', async (how) => {
    const supervisor = supervised();
    const failure = vi.fn();
    supervisor.on('failure', failure);
    const controller = new AbortController();
    const child = new FakeChild();
    child.onDispose = async () => child.end('exited');
    const open = async ({ signal }: { signal: AbortSignal }) => {
      signal.addEventListener('abort', () => child.end('exited'));
      return child;
    };
    await supervisor.attempt('news', open, { signal: controller.signal });
    if (how === 'stop') await supervisor.stop('news');
    else controller.abort();
    await settled();
    expect(failure).not.toHaveBeenCalled();
  });
});

test('what open gives must have closed: the error says so, and nothing listens on', async () => {
  const supervisor = supervised();
  const error = await supervisor.attempt('news', async () => ({}) as never).catch((error) => error);
  expect(error.message).toContain('open must');
});
