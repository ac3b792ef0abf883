import { expect, test } from 'vitest';
import { after } from '../../src/internal/time.ts';

test('a time that has passed already calls back soon, and Node has no reason to warn', async () => {
  const warnings: string[] = [];
  const note = ({ name }: Error) => warnings.push(name);
  process.on('warning', note);
  await new Promise<void>((resolve) => after(-5, resolve));
  await new Promise<void>((resolve) => after(1, resolve));
  process.off('warning', note);
  expect(warnings).toEqual([]);
});
