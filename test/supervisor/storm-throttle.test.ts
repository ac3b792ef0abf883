import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StormThrottle } from '../../src/supervisor/storm-throttle.ts';

test('so many restarts within the period are a storm, and the next waits for the first of them to leave it', () => {
  const throttle = new StormThrottle(3, 1_000);
  expect([0, 100, 200].map((at) => throttle.add(at))).toEqual([false, false, true]);
  expect(throttle.untilNext(200)).toBe(800);
  expect(throttle.untilNext(999)).toBe(1);
  expect(throttle.untilNext(1_000)).toBe(0);
});

test('a storm goes on at its edge, and is over when at most half of them are left', () => {
  const throttle = new StormThrottle(4, 1_000);
  expect([0, 10, 20, 30].map((at) => throttle.add(at))).toEqual([false, false, false, true]);
  expect(throttle.add(1_000)).toBe(false);
  expect(throttle.untilNext(1_000)).toBe(10);
  // Those of 30 and 1_000 are left when that of 20 goes.
  expect(throttle.untilCalm(1_000)).toBe(20);
  expect(throttle.untilCalm(1_020)).toBe(0);
  expect([1_020, 1_025].map((at) => throttle.add(at))).toEqual([false, true]);
});

test('spread over more than the period they are none', () => {
  const throttle = new StormThrottle(2, 1_000);
  expect([0, 1_000, 2_000, 3_000].map((at) => throttle.add(at))).toEqual([false, false, false, false]);
  expect(throttle.untilCalm(3_000)).toBe(0);
});

test('one alone is a storm where one is too many', () => {
  const throttle = new StormThrottle(1, 1_000);
  expect(throttle.add(0)).toBe(true);
  expect([throttle.untilNext(0), throttle.untilCalm(0)]).toEqual([1_000, 1_000]);
  expect(throttle.untilCalm(1_000)).toBe(0);
});

test('whoever heeds it never exceeds the bound, in any window of the period, and waits no longer than for that', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), gaps, (intensity, gaps) => {
      const throttle = new StormThrottle(intensity, 1_000);
      const all: number[] = [];
      let now = 0;
      for (const gap of gaps) {
        now += gap;
        const within = all.filter((at) => at > now - 1_000);
        const leftMs = within.length < intensity ? 0 : (within.at(-intensity) as number) + 1_000 - now;
        expect(throttle.untilNext(now)).toBe(leftMs);
        now += leftMs;
        all.push(now);
        throttle.add(now);
        expect(all.filter((at) => at > now - 1_000).length).toBeLessThanOrEqual(intensity);
      }
    }),
  );
});
