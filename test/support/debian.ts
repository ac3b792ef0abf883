import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** Each user has one: what another left can be read but not added to. */
const CACHE = join(tmpdir(), `holdfast-debian-programs${process.getuid?.() ? `-${process.getuid()}` : ''}`);

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

/**
 * The directory that the packages and all that they need and this machine lacks are unpacked into, as if it were `/`; else as
 * `debianProgram`.
 */
export async function debianRoot(packages: readonly string[]): Promise<string | undefined> {
  try {
    return await unpacked(packages, { withDependencies: true });
  } catch (error) {
    if (process.env.CI) throw new Error(`${packages.join(' ')} can't be had in CI`, { cause: error });
    console.warn(`skipped: no ${packages[0]} here (apt install ${packages.join(' ')}): ${(error as Error).message}`);
    return undefined;
  }
}

/** Where the libraries of an unpacked root are, for `LD_LIBRARY_PATH`. */
export function librariesIn(root: string, ...subfolders: readonly string[]): string {
  const folders = ['usr/lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu', 'usr/lib', 'lib/x86_64-linux-gnu'];
  return folders.flatMap((folder) => ['', ...subfolders].map((sub) => join(root, folder, sub))).join(delimiter);
}

function programIn(root: string, name: string): DebianProgram {
  const path = ['usr/bin', 'bin'].map((folder) => join(root, folder, name)).find(existsSync);
  if (!path) throw new Error(`the packages have no usr/bin/${name}`);
  return { path, env: { ...process.env, LD_LIBRARY_PATH: librariesIn(root) } };
}

async function unpacked(packages: readonly string[], { withDependencies = false } = {}): Promise<string> {
  const root = join(CACHE, packages.join('+') + (withDependencies ? '+all' : ''));
  if (existsSync(root)) return root;
  await mkdir(CACHE, { recursive: true });
  const work = await mkdtemp(join(CACHE, 'unpacking-'));
  try {
    await download(packages, work, withDependencies);
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
async function download(packages: readonly string[], cwd: string, withDependencies: boolean): Promise<void> {
  const get = async () => {
    const names = withDependencies ? await missingPackages(packages) : packages;
    await run('apt-get', ['download', ...names], { cwd });
  };
  try {
    await get();
  } catch {
    await run('apt-get', ['update']);
    await get();
  }
}

/** What an installation of the packages would add to this machine, by a simulation of it, which any user may make. */
async function missingPackages(packages: readonly string[]): Promise<string[]> {
  const simulate = ['install', '--simulate', '--no-install-recommends', '-o', 'Debug::NoLocking=1'];
  const { stdout } = await run('apt-get', [...simulate, ...packages]);
  return [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name as string);
}
