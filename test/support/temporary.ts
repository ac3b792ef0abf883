import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/**
 * A directory that is gone after the test.
 *
 * @param onEnd `afterAll` for one of a whole test file, made outside of its tests.
 */
export function temporaryDirectory(onEnd: (remove: () => void) => void = onTestFinished): string {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  onEnd(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
