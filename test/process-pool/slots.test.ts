import { expect, test } from 'vitest';
import { Slots } from '../../src/process-pool/slots.ts';

test('a slot comes back once, however often it is freed', () => {
  const slots = new Slots(2);
  const [slot] = [slots.tryTake(), slots.tryTake()];
  slot?.free();
  slot?.free();
  expect(slots.taken).toBe(1);
});
