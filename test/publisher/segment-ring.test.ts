import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { mediaPlaylist, sequenceOf } from '../../examples/publisher/hls/playlist.ts';
import { SegmentRing } from '../../examples/publisher/hls/segment-ring.ts';
import { DiskStore, MemoryStore, type StoredSegment } from '../../examples/publisher/hls/segment-store.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const segment = { bytes: Buffer.alloc(188), durationSeconds: 1, isDiscontinuous: false };

describe('the segments that are kept', () => {
  it('stay as many as they were when the clock of the host is put back', () => {
    const ring = new SegmentRing(6, new MemoryStore(), { sequence: 1, discontinuities: 0 });
    const wall = vi.spyOn(Date, 'now').mockReturnValue(7_200_000);
    for (let second = 0; second < 60; second++) ring.add(segment, 2, second * 1_000);
    const { size } = ring;
    wall.mockReturnValue(0);
    for (let second = 60; second < 3_000; second++) ring.add(segment, 2, second * 1_000);
    expect(ring.size).toBe(size);
    const [first, second] = ring.listed;
    expect((second?.startsAt ?? 0) - (first?.startsAt ?? 0)).toBe(1_000);
    expect(ring.updatedAt).toBe(2_999_000);
  });

  it('have names that none of another process has', () => {
    const ring = new SegmentRing(6, new MemoryStore(), { sequence: 17, discontinuities: 0 });
    ring.add(segment, 2);
    const name = mediaPlaylist(ring.listed, 2).trim().split('\n').at(-1) as string;
    expect(sequenceOf(name)).toBe(17);
    expect(['17.ts', 'abc-17.ts', `x${name}`].map(sequenceOf)).toEqual(Array(3).fill(undefined));
  });
});

/** Of what is kept, wherever it is. */
async function firstByteOf(stored: StoredSegment): Promise<number | undefined> {
  const content = await stored.open();
  return (Buffer.isBuffer(content) ? content : content && (await buffer(content)))?.[0];
}

describe('segments on a disk', () => {
  const lines = () => {
    const said: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((line) => said.push(JSON.parse(String(line)).msg) > 0);
    return said;
  };

  it('that fails stay in memory, which is said once, and are written when it works again', async () => {
    const said = lines();
    const folder = temporaryDirectory();
    await using store = new DiskStore(folder, createLog('json'));
    rmSync(store.path, { recursive: true });
    const kept = [1, 2, 3].map((value) => store.put(Buffer.alloc(188, value)));
    await eventually(() => expect(said).toEqual([expect.stringMatching(/ENOENT.*stay in memory/)]));
    expect(await Promise.all(kept.map(firstByteOf))).toEqual([1, 2, 3]);
    mkdirSync(store.path);
    const next = store.put(Buffer.alloc(188, 4));
    await eventually(() => expect(said.at(-1)).toMatch(/written to .* again/));
    expect(await firstByteOf(next)).toBe(4);
    for (const one of [...kept, next]) one.remove();
    expect(await next.open()).toBeUndefined();
    await eventually(() => expect(readdirSync(store.path)).toEqual([]));
  });

  it('are given piece by piece, and to their end even if they are removed meanwhile', async () => {
    await using store = new DiskStore(temporaryDirectory(), createLog('json'));
    const stored = store.put(Buffer.alloc(5_000_000, 7));
    const content = await eventually(async () => {
      const content = await stored.open();
      expect(content).toBeInstanceOf(Readable);
      return content as Readable;
    });
    stored.remove();
    await eventually(() => expect(readdirSync(store.path)).toEqual([]));
    expect(await stored.open()).toBeUndefined();
    const pieces: Buffer[] = await content.toArray();
    expect(Buffer.concat(pieces).equals(Buffer.alloc(5_000_000, 7))).toBe(true);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(1_000_000);
  });

  it('that are more than it takes at a time stay in memory', async () => {
    const said = lines();
    const folder = temporaryDirectory();
    await using store = new DiskStore(folder, createLog('json'));
    const kept = Array.from({ length: 40 }, (_, value) => store.put(Buffer.alloc(1_000_000, value)));
    await eventually(() => expect(said).toContainEqual(expect.stringMatching(/too slow; .*stay in memory/)));
    expect(await Promise.all(kept.map(firstByteOf))).toEqual([...kept.keys()]);
    for (const one of kept) one.remove();
    await eventually(() => expect(readdirSync(join(store.path))).toEqual([]));
  });
});
