import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Comparison, Reference } from './witness.ts';

const stream = randomBytes(188 * 1_000);

/** In pieces of any size. */
function* pieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function compared(got: Buffer, size = 5_000): Comparison {
  const reference = new Reference();
  for (const piece of pieces(stream, 7_000)) reference.add(piece);
  const comparison = new Comparison(reference);
  for (const piece of pieces(got, size)) comparison.add(piece);
  comparison.finish();
  return comparison;
}

describe('a viewer', () => {
  test.each([1, 187, 5_000, 1_000_000])(
    'that joined later and got all since, in pieces of %i, lost nothing',
    (size) => {
      const got = stream.subarray(188 * 100);
      expect(compared(got, size)).toMatchObject({ lostBytes: 0, equalBytes: got.length });
    },
  );

  test('that missed a packet lost its bytes', () => {
    const got = Buffer.concat([stream.subarray(0, 188 * 500), stream.subarray(188 * 501)]);
    expect(compared(got).lostBytes).toBe(188);
  });

  test('that got a byte wrong lost some', () => {
    const got = Buffer.from(stream);
    got[188 * 500] = (got[188 * 500] as number) ^ 1;
    expect(compared(got).lostBytes).toBeGreaterThan(0);
  });

  describe('of an opening that begins with the same bytes as the one before', () => {
    const [opening, rest] = [stream.subarray(0, 188 * 500), randomBytes(188 * 500)];

    beforeEach(() => void vi.useFakeTimers());
    afterEach(() => void vi.useRealTimers());

    test.each([
      ['after', [opening, rest.subarray(0, 1_880)], [rest.subarray(1_880)]],
      ['before', [], [opening, rest]],
    ])('that joins it %s the reference has lost nothing', (_, before, after) => {
      const reference = new Reference();
      for (const part of [opening, randomBytes(1_880)]) reference.add(part);
      vi.advanceTimersByTime(1_500);
      for (const part of before) reference.add(part);
      const comparison = new Comparison(reference);
      for (const part of [opening, rest]) comparison.add(part);
      for (const part of after) reference.add(part);
      comparison.compare();
      comparison.finish();
      expect(comparison).toMatchObject({ lostBytes: 0, equalBytes: opening.length + rest.length });
    });
  });

  test('that was compared late, since this process was slow, has lost nothing', () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const reference = new Reference();
    const comparison = new Comparison(reference);
    reference.add(stream);
    vi.advanceTimersByTime(2_500);
    comparison.add(stream);
    expect(comparison.equalBytes).toBe(0);
    vi.advanceTimersByTime(3_000);
    const later = randomBytes(100_000);
    reference.add(later);
    comparison.add(later);
    comparison.finish();
    expect(comparison).toMatchObject({ lostBytes: 0, equalBytes: stream.length + later.length });
  });

  test('that got nothing more has lost what the others got since', () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const reference = new Reference();
    const comparison = new Comparison(reference);
    reference.add(stream);
    comparison.add(stream);
    vi.advanceTimersByTime(60_000);
    reference.add(randomBytes(4 * 2 ** 20));
    comparison.finish();
    expect(comparison.lostBytes).toBeGreaterThan(0);
  });

  test('that got too little to be found, and nothing more, has lost what the others got since', () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const reference = new Reference();
    const comparison = new Comparison(reference);
    reference.add(stream);
    comparison.add(stream.subarray(0, 188));
    vi.advanceTimersByTime(60_000);
    reference.add(randomBytes(4 * 2 ** 20));
    comparison.finish();
    expect(comparison.lostBytes).toBeGreaterThan(0);
  });

  test('that is ahead of the reference waits for it', () => {
    const reference = new Reference();
    const comparison = new Comparison(reference);
    comparison.add(stream);
    expect(comparison.equalBytes).toBe(0);
    for (const piece of pieces(stream, 7_000)) {
      reference.add(piece);
      comparison.compare();
    }
    expect(comparison).toMatchObject({ lostBytes: 0, equalBytes: stream.length });
  });

  test('that got what nobody sent lost all of it', () => {
    const foreign = randomBytes(9 * 2 ** 20);
    const reference = new Reference();
    const comparison = new Comparison(reference);
    for (const piece of pieces(foreign, 2 ** 20)) {
      reference.add(stream.subarray(0, 188));
      comparison.add(piece);
    }
    expect(comparison.lostBytes).toBeGreaterThan(8 * 2 ** 20);
  });
});
