import { describe, expect, test } from 'vitest';
import { adaptiveSliceMs, SLICE_BYTES, Slicer } from '../../src/fanout-hub/slicer.ts';
import { numbered } from './support.ts';

describe('Slicer', () => {
  test.each([
    { align: 1, chunks: [3, 4], slice: 7, rest: 0 },
    { align: 188, chunks: [100, 100], slice: 188, rest: 12 },
    { align: 188, chunks: [187], slice: 0, rest: 187 },
    { align: 188, chunks: [188, 188], slice: 376, rest: 0 },
    { align: 7, chunks: [1, 1, 1, 1, 1, 1, 1, 1], slice: 7, rest: 1 },
  ])('takes $slice of $chunks bytes at an alignment of $align', ({ align, chunks, slice, rest }) => {
    const slicer = new Slicer(align);
    for (const length of chunks) slicer.push(Buffer.alloc(length), 0);
    expect(slicer.take(0)).toHaveLength(slice);
    expect(slicer.flush()).toHaveLength(rest);
  });

  test('the bytes of all slices together are those that were pushed', () => {
    const slicer = new Slicer(188);
    const slices: Buffer[] = [];
    for (let start = 0, i = 0; start < 10_000; start += 37, i++) {
      slicer.push(numbered(start, 37), i);
      if (i % 5 === 0) slices.push(slicer.take(i));
    }
    expect(slices.filter((slice) => slice.length % 188 !== 0)).toEqual([]);
    const all = Buffer.concat([...slices, slicer.flush()]);
    expect(all.equals(numbered(0, all.length))).toBe(true);
  });

  test('a single chunk goes through without a copy', () => {
    const slicer = new Slicer(1);
    const chunk = Buffer.alloc(1000);
    slicer.push(chunk, 0);
    expect(slicer.take(0).buffer).toBe(chunk.buffer);
  });

  test('the slice time counts from the first byte of a whole unit', () => {
    const slicer = new Slicer(188);
    expect(slicer.dueAt(40)).toBe(Number.POSITIVE_INFINITY);
    slicer.push(Buffer.alloc(100), 10);
    expect(slicer.dueAt(40)).toBe(Number.POSITIVE_INFINITY);
    slicer.push(Buffer.alloc(100), 20);
    slicer.push(Buffer.alloc(100), 30);
    expect(slicer.dueAt(40)).toBe(60);
    slicer.take(60);
    slicer.push(Buffer.alloc(100), 150);
    expect(slicer.dueAt(40)).toBe(190);
  });

  test('what is read within twice the slice time after the last slice is due that time after it: it may have waited to be read', () => {
    const slicer = new Slicer(1);
    slicer.push(Buffer.alloc(1), 0);
    slicer.take(40);
    slicer.push(Buffer.alloc(1), 55);
    expect(slicer.dueAt(40)).toBe(80);
    slicer.take(85);
    slicer.push(Buffer.alloc(1), 124);
    expect(slicer.dueAt(40)).toBe(125);
    slicer.take(125);
    slicer.push(Buffer.alloc(1), 204);
    expect(slicer.dueAt(40)).toBe(165);
    slicer.take(210);
    slicer.push(Buffer.alloc(1), 290);
    expect(slicer.dueAt(40)).toBe(330);
  });

  test('a slice that is large enough is due at once', () => {
    const slicer = new Slicer(1);
    slicer.push(Buffer.alloc(SLICE_BYTES), 5);
    expect(slicer.dueAt(40)).toBe(5);
  });

  test('more subscribers get longer slices, never above 40 ms', () => {
    expect([1, 10, 100, 10_000].map(adaptiveSliceMs)).toEqual([4.5, 9, 40, 40]);
  });
});
