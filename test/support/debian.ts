import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CACHE = join(tmpdir(), 'holdfast-debian-programs');

/** A real program to test against. */
export interface DebianProgram {
  readonly path: string;
  /** The environment it runs in: where its libraries are. */
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Finds a program on the `PATH`, or unpacks it from its Debian packages into a cache, which needs no root and installs
 * nothing. `undefined` where neither works, and said so; in CI (`CI` is set) that is an error, lest tests vanish.
 */
export async function debianProgram(name: string, packages: readonly string[]): Promise<DebianProgram | undefined> {
  const installed = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
  const path = installed.find(existsSync);
  if (path) return { path, env: process.env };
  try {
    return programIn(await unpacked(packages), name);
  } catch (error) {
    if (process.env.CI) throw new Error(`${name} can't be had in CI`, { cause: error });
    console.warn(`skipped: no ${name} here (apt install ${packages.join(' ')}): ${(error as Error).message}`);
    return undefined;
  }
}

/** The path of a file in a Debian package, unpacked as programs are; `undefined` where that is so. */
export async function debianFile(file: string, packages: readonly string[]): Promise<string | undefined> {
  const installed = join('/', file);
  if (existsSync(installed)) return installed;
  try {
    return join(await unpacked(packages), file);
  } catch (error) {
    if (process.env.CI) throw new Error(`${file} can't be had in CI`, { cause: error });
    console.warn(`skipped: no ${file} here (apt install ${packages.join(' ')}): ${(error as Error).message}`);
    return undefined;
  }
}

function programIn(root: string, name: string): DebianProgram {
  const libraries = ['usr/lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu', 'usr/lib'].map((path) =>
    join(root, path),
  );
  const path = ['usr/bin', 'bin'].map((folder) => join(root, folder, name)).find(existsSync);
  if (!path) throw new Error(`the packages have no usr/bin/${name}`);
  return { path, env: { ...process.env, LD_LIBRARY_PATH: libraries.join(delimiter) } };
}

async function unpacked(packages: readonly string[]): Promise<string> {
  const root = join(CACHE, packages.join('+'));
  if (existsSync(root)) return root;
  await mkdir(CACHE, { recursive: true });
  const work = await mkdtemp(join(CACHE, 'unpacking-'));
  try {
    await download(packages, work);
    for (const file of await readdir(work)) await run('dpkg', ['-x', file, 'root'], { cwd: work });
    await rename(join(work, 'root'), root).catch((error) => {
      if (!existsSync(root)) throw error; // else another test file was faster
    });
    return root;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** A bare machine has no package lists yet. */
async function download(packages: readonly string[], cwd: string): Promise<void> {
  try {
    await run('apt-get', ['download', ...packages], { cwd });
  } catch {
    await run('apt-get', ['update']);
    await run('apt-get', ['download', ...packages], { cwd });
  }
}
