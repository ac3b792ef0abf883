import { expect, it, onTestFinished, vi } from 'vitest';
import { Announcements } from '../../examples/publisher/directory/announcements.ts';
import { Directory } from '../../examples/publisher/directory/directory.ts';

it('channels that are announced at the same time are listed together, each when it is told so', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const announcements = new Announcements('ours');
  const changed = vi.fn();
  using directory = new Directory([announcements], { changed, refreshed: () => {}, failed: () => {} });
  announcements.directory = directory;
  const announced = { name: 'x', number: null, url: 'http://h/x', ttlSeconds: 30, via: [] };
  const puts = Array.from({ length: 500 }, async (_, index) => {
    expect(await announcements.put(`c${index}`, announced)).toBe('new');
    expect(directory.entries.map(({ id }) => id)).toContain(`c${index}`);
  });
  await vi.advanceTimersByTimeAsync(100);
  await Promise.all(puts);
  expect(changed).toHaveBeenCalledTimes(1);
  const late = announcements.put('late', announced);
  await vi.advanceTimersByTimeAsync(100);
  expect([await late, directory.entries.length]).toEqual(['new', 501]);
  await vi.advanceTimersByTimeAsync(31_000);
  expect(directory.entries).toEqual([]);
  announcements[Symbol.dispose]();
});
