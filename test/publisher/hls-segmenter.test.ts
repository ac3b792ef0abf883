import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { type CutSegment, Segmenter } from '../../examples/publisher/hls/segmenter.ts';
import { contentViolationsOf, firstPicture } from '../support/hls-rules.ts';
import { picturesIn } from '../support/transport-stream.ts';

const SECONDS = 6;
const PICTURES_PER_SECOND = 20;

/** What the real ffmpeg makes: so many pictures from one key frame to the next. */
function encoded(group: number, ...more: readonly string[]): Buffer {
  const input = ['-f', 'lavfi', '-i', `testsrc2=size=160x120:rate=${PICTURES_PER_SECOND}:duration=${SECONDS}`];
  const sound = ['-f', 'lavfi', '-i', `sine=duration=${SECONDS}`, '-c:a', 'aac'];
  const video = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', String(group), '-sc_threshold', '0', '-bf', '2'];
  const args = ['-v', 'error', ...input, ...sound, ...video, ...more, '-f', 'mpegts', 'pipe:1'];
  return execFileSync(findFfmpeg(), args, { maxBuffer: 64 * 1024 * 1024 });
}

interface Cut {
  readonly segments: readonly CutSegment[];
  readonly target: number | undefined;
}

function cut(pieces: readonly (Buffer | 'another source')[], segmentMs = 1_000): Cut {
  const segments: CutSegment[] = [];
  const segmenter = new Segmenter(segmentMs, (segment) => segments.push(segment));
  for (const piece of pieces) {
    if (piece === 'another source') segmenter.break();
    else segmenter.push(piece);
  }
  segmenter.break();
  return { segments, target: segmenter.targetSeconds };
}

const violations = ({ segments }: Cut) =>
  contentViolationsOf(
    segments.map(({ bytes, durationSeconds, isDiscontinuous }, sequence) => {
      return { uri: `${sequence}.ts`, sequence, bytes, isDiscontinuous, duration: durationSeconds };
    }),
  );
const durations = ({ segments }: Cut) => segments.map(({ durationSeconds }) => Number(durationSeconds.toFixed(3)));
const total = (cut: Cut) => durations(cut).reduce((sum, seconds) => sum + seconds, 0);
const isRounded = ({ segments, target = 0 }: Cut) =>
  segments.every(({ durationSeconds }) => Math.round(durationSeconds) <= target);

const everySecond = encoded(PICTURES_PER_SECOND);

describe('the segments of MPEG-TS', () => {
  it('begin with tables and a key frame, follow without a gap, and lose no picture', () => {
    const whole = cut([everySecond]);
    expect(violations(whole)).toEqual([]);
    expect(durations(whole)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(whole.target).toBe(2);
    expect(whole.segments.map(({ isDiscontinuous }) => isDiscontinuous)).toEqual(Array(6).fill(false));
    for (const { bytes } of whole.segments) expect(picturesIn(bytes)).toBe(PICTURES_PER_SECOND);
  });

  it('are the same however the bytes come in pieces, whatever is between the packets', () => {
    const garbage = Buffer.from(Array.from({ length: 1_000 }, (_, index) => (index * 71) & 0xff));
    const damaged = Buffer.concat([
      garbage,
      everySecond.subarray(0, 188 * 301),
      garbage,
      everySecond.subarray(188 * 301),
    ]);
    const expected = cut([damaged]);
    expect(expected.segments.length).toBeGreaterThan(3);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 20 }), (lengths) => {
        const pieces: Buffer[] = [];
        for (let at = 0; at < damaged.length; ) {
          const length = lengths[pieces.length % lengths.length] as number;
          pieces.push(damaged.subarray(at, at + length));
          at += length;
        }
        const { segments } = cut(pieces);
        expect(segments.map(({ durationSeconds }) => durationSeconds)).toEqual(durationsOf(expected));
        expect(segments.every(({ bytes }, index) => bytes.equals(expected.segments[index]?.bytes as Buffer))).toBe(
          true,
        );
      }),
      { numRuns: 15 },
    );
  });

  it('are as long as configured once there are some, and their rounded durations never more than was said', () => {
    const long = cut([encoded(10)], 2_000);
    expect(violations(long)).toEqual([]);
    expect(durations(long).slice(0, 3)).toEqual([0.5, 0.5, 0.5]);
    expect(durations(long)[3]).toBe(2);
    expect(long.target).toBe(3);
    expect(isRounded(long)).toBe(true);
  });

  it('are as long as from one key frame to the next if that is more', () => {
    const rare = cut([encoded(2 * PICTURES_PER_SECOND)]);
    expect(violations(rare)).toEqual([]);
    expect([durations(rare), rare.target]).toEqual([[2, 2, 2], 3]);
  });

  it('are bounded where key frames become rare', () => {
    const becomesRare = encoded(200, '-force_key_frames', '0,1');
    const bounded = cut([becomesRare]);
    expect(bounded.target).toBe(2);
    expect(isRounded(bounded)).toBe(true);
    expect(total(bounded)).toBeCloseTo(SECONDS, 1);
    expect(violations(bounded).filter((what) => !/key frame/.test(what))).toEqual([]);
  });

  it('take no notice of the clock that begins anew after 26.5 hours', () => {
    const wraps = encoded(PICTURES_PER_SECOND, '-output_ts_offset', String(2 ** 33 / 90_000 - 3.5));
    const wrapped = cut([wraps]);
    const times = wrapped.segments.map(({ bytes }) => firstPicture(bytes).pts);
    expect(Math.min(...times)).toBeLessThan(times[0] as number);
    expect(durations(wrapped)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(wrapped.segments.some(({ isDiscontinuous }) => isDiscontinuous)).toBe(false);
    expect(violations(wrapped)).toEqual([]);
  });

  it.each([
    ['another source is told of', [everySecond, 'another source', everySecond]],
    ['the clock leaps back', [everySecond, everySecond]],
    ['the clock leaps ahead', [everySecond, encoded(PICTURES_PER_SECOND, '-output_ts_offset', '1000')]],
    ['the tracks change', [everySecond, encoded(PICTURES_PER_SECOND, '-an', '-output_ts_offset', String(SECONDS))]],
  ] as const)('are marked once where %s', (_, pieces) => {
    const both = cut(pieces);
    const marked = both.segments.flatMap(({ isDiscontinuous }, index) => (isDiscontinuous ? [index] : []));
    expect(marked).toEqual([6]);
    expect(isRounded(both)).toBe(true);
    expect(violations(both)).toEqual([]);
  });

  it('have one program of several', () => {
    const twoPrograms = ['-map', '0:v', '-map', '1:a', '-map', '0:v', '-program', 'st=0:st=1', '-program', 'st=2'];
    const one = cut([encoded(PICTURES_PER_SECOND, ...twoPrograms)]);
    expect(one.segments.length).toBeGreaterThan(3);
    expect(violations(one)).toEqual([]);
  });

  it('are made of sound alone as well', () => {
    const sound = cut([encoded(PICTURES_PER_SECOND, '-vn')]);
    expect(total(sound)).toBeCloseTo(SECONDS, 0);
    expect(isRounded(sound)).toBe(true);
    expect(sound.segments.some(({ isDiscontinuous }) => isDiscontinuous)).toBe(false);
  });

  it('are none where there is no MPEG-TS', () => {
    expect(cut([Buffer.from('this is no transport stream'.repeat(1_000))]).segments).toEqual([]);
  });
});

function durationsOf({ segments }: Cut): number[] {
  return segments.map(({ durationSeconds }) => durationSeconds);
}
