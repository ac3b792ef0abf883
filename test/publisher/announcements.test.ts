import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Announcements } from '../../examples/publisher/directory/announcements.ts';
import { Directory } from '../../examples/publisher/directory/directory.ts';

const announced = { name: 'x', number: null, url: 'http://h/x', ttlSeconds: 30, via: [] };
const changed = vi.fn();
let announcements: Announcements;
let directory: Directory;

beforeEach(() => {
  vi.useFakeTimers();
  changed.mockClear();
  announcements = new Announcements('ours');
  directory = new Directory([announcements], { changed, refreshed: () => {}, failed: () => {} });
  announcements.directory = directory;
});

afterEach(async () => {
  directory[Symbol.dispose]();
  announcements[Symbol.dispose]();
  await vi.advanceTimersByTimeAsync(100_000);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const put = (...ids: string[]) => Promise.all(ids.map((id) => announcements.put(id, announced)));
const listed = <T>(putting: Promise<T>): Promise<T> => vi.advanceTimersByTimeAsync(100).then(() => putting);

it('channels that are announced at the same time are listed together, each when it is told so', async () => {
  const puts = Array.from({ length: 500 }, async (_, index) => {
    expect(await put(`c${index}`)).toEqual(['new']);
    expect(directory.entries.map(({ id }) => id)).toContain(`c${index}`);
  });
  await listed(Promise.all(puts));
  expect(changed).toHaveBeenCalledTimes(1);
  expect([await listed(put('late')), directory.entries.length]).toEqual([['new'], 501]);
  await vi.advanceTimersByTimeAsync(31_000);
  expect(directory.entries).toEqual([]);
});

it('a thousand channels may be announced, and another when one of them is gone', async () => {
  await listed(put(...Array.from({ length: 1_000 }, (_, index) => `c${index}`)));
  expect(directory.entries).toHaveLength(1_000);
  const tooMany = { status: 429, detail: '1000 channels are announced here already; delete some first' };
  expect(await put('another')).toMatchObject([tooMany]);
  expect(await listed(put('c0'))).toEqual(['renewed']);
  expect(await listed(announcements.delete('c1'))).toBe(true);
  expect(await listed(put('another'))).toEqual(['new']);
  expect(await put('c1')).toMatchObject([tooMany]);
  expect(directory.entries).toHaveLength(1_000);
});

it('what is being listed when the publisher ends is not carried on for ever', async () => {
  const putting = put('late');
  directory[Symbol.dispose]();
  announcements[Symbol.dispose]();
  expect(await listed(putting)).toEqual(['new']);
  expect(vi.getTimerCount()).toBe(0);
});
