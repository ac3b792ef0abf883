import { expect, test } from 'vitest';
import { poolStorm } from '../stress/pool-storm.ts';

test('300 acquires with random faults and real children: never a slot too many, and all of them back', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { peak, faults } = await poolStorm({ acquires: 300, seed });
  expect(faults, `seed ${seed}`).toEqual([]);
  expect(peak).toBe(8);
}, 60_000);
