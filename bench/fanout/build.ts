import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The programs in C, built, and a folder for what a run needs. */
export interface Tools extends Disposable {
  readonly folder: string;
  readonly limit: string;
  readonly feed: string;
  readonly load: string;
}

/** Needs a C compiler: `cc`, or what `CC` names. */
export function build(): Tools {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-fanout-'));
  // Icecast reads its configuration there as a user of its own.
  chmodSync(folder, 0o755);
  const program = (name: string) => {
    const source = new URL(`${name}.c`, import.meta.url).pathname;
    execFileSync(process.env.CC ?? 'cc', ['-O2', '-Wall', '-pthread', '-o', join(folder, name), source]);
    return join(folder, name);
  };
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    return { folder, limit: program('limit'), feed: program('feed'), load: program('load'), [Symbol.dispose]: remove };
  } catch (error) {
    remove();
    throw error;
  }
}
