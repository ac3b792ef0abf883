import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { fanoutStorm } from '../stress/fanout-storm.ts';

test('100 viewers who join and leave at random for three seconds each have a range of the source, byte by byte', async () => {
  const seed = randomInt(2 ** 31);
  const verdict = await fanoutStorm({ viewers: 100, seconds: 3, bytesPerSecond: 200_000, seed });
  console.log(verdict);
  expect(verdict.faults, `seed ${seed}`).toEqual([]);
  expect(verdict.left).toBeGreaterThan(50);
  expect(verdict.stayed).toBe(100);
});
