import { TokenBucket } from 'holdfast';
import { expect, onTestFinished, test, vi } from 'vitest';

test('a million waiters are granted in turn: no stack overflow, no cost that grows with their number', async () => {
  vi.useFakeTimers(); // else some have their token before the last has come
  onTestFinished(() => void vi.useRealTimers());
  const bucket = new TokenBucket({
    capacity: 1_000_000,
    refillPerSecond: 1_000_000,
    initial: 0,
    maxWaiters: 1_000_000,
  });
  let granted = 0;
  const all = Array.from({ length: 1_000_000 }, () => bucket.take().then(() => granted++));
  expect(bucket.waiting).toBe(1_000_000);
  await vi.advanceTimersByTimeAsync(1_001);
  await Promise.all(all);
  expect([granted, bucket.waiting]).toEqual([1_000_000, 0]);
}, 120_000);

test('a million waiters that are refused together leave nothing behind', async () => {
  const bucket = new TokenBucket({ capacity: 1, refillPerSecond: 0.001, initial: 0, maxWaiters: 1_000_000 });
  let refused = 0;
  const all = Array.from({ length: 1_000_000 }, () =>
    bucket.take(1, { timeoutMs: Number.POSITIVE_INFINITY }).catch(() => refused++),
  );
  bucket.close();
  await Promise.all(all);
  expect([refused, bucket.waiting]).toEqual([1_000_000, 0]);
}, 120_000);
