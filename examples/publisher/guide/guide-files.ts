import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sweepTemporary } from '../state/json-file.ts';

const KEPT = /^([0-9a-f]{16})\.xml\.gz$/;
const TEMPORARY = /^(.+\.xml\.gz)\.\d+\.tmp$/;

/** Removes what was kept of other sources than these, each of which may be large. */
export async function removeOthers(dir: string, ids: ReadonlySet<string>): Promise<void> {
  for (const name of await namesIn(dir)) {
    const id = KEPT.exec(name)?.[1];
    if (id !== undefined && !ids.has(id)) await rm(join(dir, name), { force: true }).catch(() => {});
  }
}

/** Removes what writers left that died while they wrote. To be called before anything is written. */
export async function removeTemporary(dir: string): Promise<void> {
  const written = (await namesIn(dir)).flatMap((name) => TEMPORARY.exec(name)?.[1] ?? []);
  for (const name of new Set(written)) sweepTemporary(join(dir, name));
}

/** Of a directory that is not there, none. */
async function namesIn(dir: string): Promise<readonly string[]> {
  return await readdir(dir).catch(() => []);
}
