import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { identify } from '../../examples/publisher/channel/source-identity.ts';

vi.mock('node:dns/promises', () => ({ lookup: () => new Promise(() => {}) }));

const url = 'http://tuner.invalid:5004/auto/v5.1';
const device = { deviceId: '1234ABC2' } as Parameters<typeof identify>[1];

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

it('a name server that does not answer costs a viewer one second, and the other names stay', async () => {
  const identified = identify(url, device, new AbortController().signal);
  await vi.advanceTimersByTimeAsync(1_000);
  expect((await identified).names).toEqual([url, 'hdhomerun:1234ABC2/v5.1']);
});

it('a viewer that leaves while a name server does not answer is not waited for', async () => {
  const leaving = new AbortController();
  const identified = identify(url, device, leaving.signal);
  leaving.abort(new Error('gone'));
  await expect(identified).rejects.toThrow('gone');
});
