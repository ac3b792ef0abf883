import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const { devDependencies, engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
const major = (version: string) => Number(/\d+/.exec(version)?.[0]);

test('the tests run on the Node that package.json pins, or on the one that was asked for', () => {
  const expected = process.env.HOLDFAST_TEST_NODE ?? devDependencies.node;
  expect(major(process.versions.node)).toBe(major(expected));
  expect(major(process.versions.node)).toBeGreaterThanOrEqual(major(engines.node));
});
