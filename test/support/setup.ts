import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect } from 'vitest';
import { eventually } from './eventually.ts';
import { processesWithMark } from './processes.ts';

// `npm test` runs on the Node that package.json pins; a binary that is called directly would use the system's.
const major = Number(process.versions.node.split('.')[0]);
if (major < 22) throw new Error(`the tests need Node 22 or later, this is ${process.version}: run them with npm test`);

/** Inherited by all that a test file starts, so that what it leaves behind can be found. */
const mark = `HOLDFAST_TEST_FILE=${randomUUID()}`;
process.env.HOLDFAST_TEST_FILE = mark.split('=')[1];

/** Who names no directory for locks has one of its test file alone: the host's is not for tests. */
const lockDir = mkdtempSync(join(tmpdir(), 'holdfast-test-locks-'));
process.env.HOLDFAST_LOCK_DIR = lockDir;

afterEach(() => {
  expect(process.listenerCount('SIGTERM'), 'the library installs no signal handler').toBe(0);
});

afterAll(async () => {
  try {
    await eventually(() => expect(processesWithMark(mark), 'processes left behind by the tests').toEqual([]));
  } finally {
    for (const { pid } of processesWithMark(mark)) process.kill(pid, 'SIGKILL');
    rmSync(lockDir, { recursive: true, force: true });
  }
});
