import { describe, expect, test } from 'vitest';
import { LagClock } from '../../src/fanout-hub/lag-clock.ts';

describe('LagClock', () => {
  test('one that takes nothing ages from the first byte on', () => {
    const clock = new LagClock();
    clock.give(100, 0, 1000);
    clock.give(100, 100, 2000);
    expect(clock.age(200, 3000)).toBe(2000);
  });

  test('one that has taken everything has no age', () => {
    const clock = new LagClock();
    clock.give(100, 0, 1000);
    expect(clock.age(0, 9000)).toBe(0);
  });

  test('after it had caught up, age counts from the next byte', () => {
    const clock = new LagClock();
    clock.give(100, 0, 1000);
    clock.give(100, 0, 5000);
    expect(clock.age(100, 6000)).toBe(1000);
  });

  test('one that keeps moving never looks older than its oldest byte is', () => {
    const clock = new LagClock();
    for (let second = 0; second < 60; second++) {
      const lag = Math.min(clock.given, 300);
      clock.give(100, lag, second * 1000);
      expect(clock.age(lag + 100, second * 1000)).toBeLessThanOrEqual(4000);
    }
  });

  describe('knows for how long one took nothing that it could have taken', () => {
    test('also if what waited for it was retracted, but not while nothing did', () => {
      const clock = new LagClock();
      clock.give(100, 0, 1_000);
      expect(clock.idle(100, 1_400)).toBe(400);
      clock.retract(100);
      expect(clock.given).toBe(0);
      clock.give(100, 0, 5_000);
      expect(clock.idle(100, 5_300)).toBe(700);
      expect(clock.idle(99, 5_600)).toBe(0);
      expect(clock.idle(99, 5_900)).toBe(300);
    });

    test('one that takes everything is never idle, however long nothing comes', () => {
      const clock = new LagClock();
      for (const at of [1_000, 60_000, 120_000]) clock.give(100, 0, at);
      expect(clock.idle(0, 500_000)).toBe(0);
    });
  });
});
