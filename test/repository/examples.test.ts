import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { startProgram } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const folder = new URL('../../examples/', import.meta.url).pathname;
const examples = readdirSync(folder).filter((name) => /^\d\d-.*\.ts$/.test(name));

test('there is an example of each primitive', () => {
  expect(examples).toEqual([
    '01-source-lock.ts',
    '02-managed-child.ts',
    '03-fanout-hub.ts',
    '04-main-path.ts',
    '05-circuit-breaker.ts',
    '06-token-bucket.ts',
    '07-process-pool.ts',
    '08-supervisor.ts',
    '09-two-processes.ts',
  ]);
});

describe.each(examples)('the example %s', (name) => {
  test('is at most 60 lines long', () => {
    expect(readFileSync(join(folder, name), 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(60);
  });

  test('runs to its end and says what its comments promise, and nothing else', async () => {
    const source = readFileSync(join(folder, name), 'utf8');
    const promised = [...source.matchAll(/^ *\/\/ prints: (.*)$/gm)].map(([, line]) => line as string);
    expect(promised.length).toBeGreaterThan(0);
    const running = startProgram(join(folder, name), { HOLDFAST_LOCK_DIR: temporaryDirectory() });
    expect(await running.exit, running.output()).toBe(0);
    const expected = promised.map((line) => (line.endsWith('…') ? expect.stringContaining(line.slice(0, -1)) : line));
    await eventually(() => expect(running.output().trimEnd().split('\n')).toEqual(expected));
  });
});
