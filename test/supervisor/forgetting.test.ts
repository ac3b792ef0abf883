import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type CircuitBreaker, ServiceAbandonedError } from 'holdfast';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { FakeChild } from '../support/fake-child.ts';
import { broken, pass, settled, supervised } from './support.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** What is published on a channel while the test runs. */
function published<T>(name: string): T[] {
  const messages: T[] = [];
  const listener = (message: unknown) => void messages.push(message as T);
  subscribe(name, listener);
  onTestFinished(() => void unsubscribe(name, listener));
  return messages;
}

const circuits = { breaker: { failureThreshold: 3 } } as const;

test('an id is forgotten when it is stopped, and its circuit leaves the metrics', async () => {
  const forgotten = published<{ id: string }>('holdfast:supervisor:forgotten');
  const closed = published<{ breaker: CircuitBreaker }>('holdfast:circuit-breaker:closed');
  await using supervisor = supervised(circuits);
  await supervisor.attempt('news', () => Promise.reject(broken)).catch(() => {});
  await supervisor.stop('news');
  expect(forgotten.map(({ id }) => id)).toEqual(['news']);
  expect(closed.map(({ breaker }) => breaker.name)).toEqual(['news']);
});

test('while something of it is open it is not, but as soon as that is over, however late', async () => {
  const forgotten = published<{ id: string }>('holdfast:supervisor:forgotten');
  await using supervisor = supervised({ ...circuits, stopTimeoutMs: 100 });
  const child = new FakeChild();
  child.onDispose = async () => {};
  await supervisor.attempt('news', async () => child);
  const stopped = supervisor.stop('news').catch((error) => error);
  await pass(100);
  expect(await stopped).toBeInstanceOf(ServiceAbandonedError);
  expect(forgotten).toEqual([]);
  child.end('terminated');
  await settled();
  expect(forgotten).toMatchObject([{ id: 'news' }]);
});

test('what failed since the stop is not forgotten by the late end of what was stopped', async () => {
  await using supervisor = supervised({ stopTimeoutMs: 100, backoff: { minMs: 5_000, jitter: 'none' } });
  const [late, next] = [new FakeChild(), new FakeChild()];
  late.onDispose = async () => {};
  await supervisor.attempt('news', async () => late);
  void supervisor.stop('news').catch(() => {});
  await pass(100);
  await supervisor.attempt('news', async () => next);
  next.end('exited');
  await settled();
  expect(supervisor.canRestart('news')).toMatchObject({ why: 'backoff' });
  late.end('terminated');
  await settled();
  expect(supervisor.canRestart('news')).toMatchObject({ why: 'backoff' });
});

test('of one that was opened since then the next stop is told', async () => {
  const forgotten = published<{ id: string }>('holdfast:supervisor:forgotten');
  await using supervisor = supervised(circuits);
  const [first, second] = [new FakeChild(), new FakeChild()];
  await supervisor.attempt('news', async () => first);
  const stopped = supervisor.stop('news');
  await supervisor.attempt('news', async () => second);
  await stopped;
  expect(forgotten).toEqual([]);
  await supervisor.stop('news');
  expect(forgotten).toHaveLength(1);
});
