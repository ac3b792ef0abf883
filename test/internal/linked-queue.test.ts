import { expect, test } from 'vitest';
import { LinkedQueue } from '../../src/internal/linked-queue.ts';

test('a place that is kept keeps nothing of what came after it', () => {
  const queue = new LinkedQueue<number>();
  const kept = queue.push(1);
  queue.push(2);
  expect(queue.delete(kept)).toBe(true);
  expect(kept).toMatchObject({ value: 1, next: undefined, previous: undefined });
  expect([...queue, queue.delete(kept)]).toEqual([2, false]);
});
