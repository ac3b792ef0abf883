import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { ClosedError } from 'holdfast';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';
import { broken, Puppet, pass, settled, supervised } from './support.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('calls from listeners', () => {
  test('a start of the id that is just being started is refused', async () => {
    await using supervisor = supervised();
    const { runs, service } = new Puppet();
    const again = vi.fn(() => supervisor.start('push', service));
    supervisor.once('state', () => expect(again).toThrow('already'));
    supervisor.start('push', service);
    await settled();
    expect([again.mock.calls.length, runs.length]).toEqual([1, 1]);
  });

  test('a close while a service is just being started ends it', async () => {
    const supervisor = supervised();
    const { runs, service } = new Puppet();
    let closed: Promise<void> | undefined;
    supervisor.once('state', () => {
      closed = supervisor.close();
    });
    const handle = supervisor.start('push', service);
    await closed;
    await settled();
    expect([handle.state, runs.every(({ signal }) => signal.aborted)]).toEqual(['stopped', true]);
  });

  test('a restart that is told of counts already', async () => {
    await using supervisor = supervised({ intensity: 1 });
    for (const id of 'ab') await supervisor.attempt(id, () => Promise.reject(broken)).catch(() => {});
    const restarts: string[] = [];
    supervisor.on('restart', (id) => {
      restarts.push(id);
      supervisor.attempt('b', async () => new FakeChild()).catch(() => {});
    });
    await supervisor.attempt('a', async () => new FakeChild());
    await settled();
    expect(restarts).toEqual(['a']);
  });
});

describe('a stop by whoever is told', () => {
  test.each(['restart', 'storm'] as const)('of a %s: the run does not begin', async (event) => {
    const supervisor = supervised({ intensity: 1 });
    const { runs, service, last } = new Puppet();
    let closed: Promise<void> | undefined;
    supervisor.on(event, () => {
      closed = supervisor.close();
    });
    const { done } = supervisor.start('push', service);
    await settled();
    last().fail();
    await pass(1);
    await closed;
    await done;
    expect(runs).toHaveLength(1);
  });

  test('on the channel of runs: it does not begin either', async () => {
    const supervisor = supervised();
    const { runs, service, last } = new Puppet();
    const { done, stop } = supervisor.start('push', service);
    await settled();
    const told = (message: unknown) => void ((message as { isRestart: boolean }).isRestart && stop());
    subscribe('holdfast:supervisor:run', told);
    onTestFinished(() => void unsubscribe('holdfast:supervisor:run', told));
    last().fail();
    await pass(1);
    await done;
    expect(runs).toHaveLength(1);
  });

  test('of a refusal: it does not wait for the end of that', async () => {
    const supervisor = supervised({ backoff: { minMs: 60_000, jitter: 'none' } });
    const { service, last } = new Puppet();
    supervisor.on('refused', (id) => void supervisor.stop(id));
    const { done } = supervisor.start('push', service);
    await settled();
    last().fail();
    await pass(1);
    await done;
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    ['stop', 'restart'],
    ['close', 'storm'],
  ] as const)('by %s, of a %s: an attempt opens nothing', async (how, event) => {
    const supervisor = supervised({ intensity: 1 });
    await supervisor.attempt('news', () => Promise.reject(broken)).catch(() => {});
    let ended: Promise<void> | undefined;
    supervisor.on(event, () => {
      ended = supervisor[how]('news');
    });
    const open = vi.fn(async () => new FakeChild());
    await expect(supervisor.attempt('news', open)).rejects.toBeInstanceOf(ClosedError);
    await ended;
    expect(open).not.toHaveBeenCalled();
  });
});

test('nothing is started by who is told to end by a close', async () => {
  const supervisor = supervised();
  const refused: unknown[] = [];
  supervisor.start('push', ({ signal }) => {
    signal.addEventListener('abort', () => {
      try {
        supervisor.start('other', async () => {});
      } catch (error) {
        refused.push(error);
      }
    });
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
  });
  await settled();
  await supervisor.close();
  expect(refused).toEqual([expect.any(ClosedError)]);
  expect(supervisor.status()).toEqual([]);
});

test('a restart from the first state resolves when the next run has begun, not before', async () => {
  await using supervisor = supervised();
  const { runs, service } = new Puppet();
  const begun: number[] = [];
  supervisor.once('state', (id) => void supervisor.restart(id).then(() => begun.push(runs.length)));
  supervisor.start('push', service);
  await settled();
  expect(begun).toEqual([1]);
});
