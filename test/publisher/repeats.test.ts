import { expect, it } from 'vitest';
import { Repeats } from '../../examples/publisher/repeats.ts';

it('a line is shown 20 times in 10 s, and the rest is told by its number', () => {
  const repeats = new Repeats();
  const shown = Array.from({ length: 50 }, () => repeats.admit('a', 0).show).filter(Boolean);
  expect(shown).toHaveLength(20);
  expect(repeats.admit('b', 1)).toEqual({ show: true, hidden: 0 });
  expect(repeats.admit('a', 10_000)).toEqual({ show: true, hidden: 30 });
  expect(repeats.admit('a', 10_001)).toEqual({ show: true, hidden: 0 });
});

it('what was hidden last is told when its time is over, once', () => {
  const repeats = new Repeats();
  for (let count = 0; count < 21; count += 1) repeats.admit('a', 0);
  repeats.admit('b', 0);
  expect(repeats.over(9_999)).toEqual([]);
  expect(repeats.over(10_000)).toEqual([{ line: 'a', hidden: 1 }]);
  expect(repeats.over(10_000)).toEqual([]);
});

it('many different lines do not grow what is known of them', () => {
  const repeats = new Repeats();
  for (let count = 0; count < 21; count += 1) repeats.admit('a', 0);
  for (let line = 0; line < 1_000; line += 1) repeats.admit(String(line), 0);
  expect(repeats.admit('a', 0)).toEqual({ show: true, hidden: 0 });
});
