import { expect, it } from 'vitest';
import { finishAll } from '../../examples/publisher/finish-all.ts';

it('an end takes every step, in turn, though some fail, and tells what failed first', async () => {
  const taken: string[] = [];
  const step = (name: string, error?: string) => async () => {
    taken.push(`${name} begins`);
    await Promise.resolve();
    taken.push(name);
    if (error) throw new Error(error);
  };
  const thrower = () => {
    throw new Error('at once');
  };
  const ended = finishAll([step('a', 'first'), step('b')], [thrower, step('c')], [step('d', 'last')]);
  await expect(ended).rejects.toThrow('first');
  expect(taken).toEqual(['a begins', 'b begins', 'a', 'b', 'c begins', 'c', 'd begins', 'd']);
  await finishAll();
});
