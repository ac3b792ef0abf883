import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { chooseBackend } from '../source-lock/choose-backend.ts';
import { formatOf, lockDirectory, SHARED_DIRECTORY } from '../source-lock/directory.ts';
import { networkFileSystem } from '../source-lock/network-file-system.ts';
import { broken, type Check, degraded, ok } from './check.ts';
import { messageOf } from './output.ts';
import { findProgram } from './programs.ts';

/** What the locks need. */
export async function lockChecks(dir: string | undefined): Promise<Check[]> {
  const place = wouldBe(dir);
  const backend = await usableBackend();
  return [directory(place), fileSystem(place.path), ...format(place.path, backend.name), backend.check];
}

interface Place {
  readonly path: string;
  readonly perUser: boolean;
}

/** The directory that an acquisition would take, which would try to make the shared one. */
function wouldBe(dir: string | undefined): Place {
  const place = lockDirectory(dir, 'look');
  const canShare = place.perUser && isWritable(nearest(SHARED_DIRECTORY));
  return canShare ? { path: SHARED_DIRECTORY, perUser: false } : place;
}

function directory({ path, perUser }: Place): Check {
  const there = nearest(path);
  const name = 'locks';
  const advice = 'give this user write access, or choose another by --dir or HOLDFAST_LOCK_DIR';
  if (!statSync(there).isDirectory()) return broken(name, `${there} is no directory`, 'remove it, or choose another');
  if (!isWritable(there)) return broken(name, `${there} may not be written by this user`, advice);
  const found = there === path ? path : `${path}, which the first lock will make`;
  if (!perUser) return ok(name, found);
  const others = `make ${SHARED_DIRECTORY} writable for the group that shares it, or set HOLDFAST_LOCK_DIR`;
  return degraded(name, `${found}; of this user only, other users are not excluded`, others);
}

function fileSystem(path: string): Check {
  const type = networkFileSystem(nearest(path));
  if (type === undefined) return ok('file system', 'local');
  if (formatOf(path) === 'lease')
    return degraded(
      'file system',
      `${type}, with leases`,
      'a lease is not exclusive in the strict sense; see the README',
    );
  const advice = 'choose a local directory by --dir or HOLDFAST_LOCK_DIR, or use --backend lease';
  return broken('file system', `${type}: kernel locks may not exclude other hosts`, advice);
}

/** A directory is for one kind of lock. */
function format(path: string, backend: string): Check[] {
  const pinned = formatOf(path);
  if (pinned === undefined || pinned === backend) return [];
  const found = `${path} is in use for locks of the kind ${pinned}, and ${backend} would be taken here`;
  return [broken('format', found, `use --backend ${pinned}, or another directory`)];
}

async function usableBackend(): Promise<{ readonly name: string; readonly check: Check }> {
  const flock = findProgram('flock');
  const beside = flock ? `flock(1) is ${flock}` : 'no flock(1), so no --lock-file';
  try {
    await chooseBackend({ backend: 'kernel' });
    return { name: 'kernel', check: ok('backend', `kernel; ${beside}`) };
  } catch (error) {
    const why = messageOf(error);
    if (!flock) return { name: 'none', check: broken('backend', why, 'install util-linux, which has flock(1)') };
    return { name: 'flock', check: degraded('backend', `flock; ${beside}`, `a lock takes some ms more: ${why}`) };
  }
}

/** The directory itself, or what of the way to it is there. */
function nearest(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearest(dirname(path));
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
