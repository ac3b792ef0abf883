import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { LockDirectoryError } from '../errors.ts';
import { checkString } from '../internal/options.ts';

const SHARED_DIRECTORY = '/run/holdfast/locks';

/** Where the lock files are, and whether only this user sees them. */
export interface LockDirectory {
  readonly path: string;
  readonly perUser: boolean;
}

/**
 * `dir`, else `$HOLDFAST_LOCK_DIR`, else the directory that all users of the host share. Only where that can't be made is
 * it one of this user. A directory that exists and may not be written is an error later, never a silent other place.
 *
 * @param purpose looking makes nothing
 */
export function lockDirectory(dir: string | undefined, purpose: 'acquire' | 'look'): LockDirectory {
  if (dir !== undefined) return { path: resolve(checkString('dir', dir)), perUser: false };
  const { HOLDFAST_LOCK_DIR, XDG_RUNTIME_DIR } = process.env;
  if (HOLDFAST_LOCK_DIR) return { path: resolve(HOLDFAST_LOCK_DIR), perUser: false };
  const isShared = exists(SHARED_DIRECTORY) || (purpose === 'acquire' && canMake(SHARED_DIRECTORY));
  if (isShared) return { path: SHARED_DIRECTORY, perUser: false };
  const base = XDG_RUNTIME_DIR ? join(XDG_RUNTIME_DIR, 'holdfast') : join(tmpdir(), `holdfast-${userInfo().uid}`);
  return { path: join(base, 'locks'), perUser: true };
}

/** Makes the directory where it is missing and pins it to the kernel's kind of lock. */
export function prepareDirectory({ path, perUser }: LockDirectory): void {
  try {
    make(path);
    if (perUser) checkOwn(path);
    pinFormat(path);
  } catch (error) {
    throw error instanceof LockDirectoryError ? error : directoryError(path, error);
  }
}

/** An error of the system, said in terms of the directory. */
export function directoryError(path: string, cause: unknown): LockDirectoryError {
  const { code } = cause as NodeJS.ErrnoException;
  const why =
    code === 'EACCES' || code === 'EPERM' || code === 'EROFS' ? `may not be written by this user (${code})` : code;
  const advice = 'give this user write access, or choose another with the option dir or HOLDFAST_LOCK_DIR';
  return new LockDirectoryError(path, `the lock directory ${path} can't be used: ${why}; ${advice}`, cause);
}

/**
 * Group members share the locks whatever the umask says; only what is made here is changed. By hand, since `mkdir` with
 * `recursive` never returns in a directory like `/proc` that takes nothing and says that it is missing.
 */
function make(path: string): void {
  if (tryMake(path)) return;
  make(dirname(path));
  if (!tryMake(path)) mkdirSync(path);
}

/** False if the directory above is missing. */
function tryMake(path: string): boolean {
  try {
    mkdirSync(path);
    chmodSync(path, 0o770);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) return false;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return true;
    throw error;
  }
}

/** In a temporary directory anybody may have been there first. */
function checkOwn(path: string): void {
  for (const each of [path, dirname(path)]) {
    const { uid, mode } = lstatSync(each);
    if (uid === userInfo().uid && (mode & 0o002) === 0) continue;
    const why = 'belongs to another user, or anybody may write it';
    throw new LockDirectoryError(each, `the lock directory ${each} ${why}; remove it, or set HOLDFAST_LOCK_DIR`);
  }
}

/** OFD locks and flock(2) do not see each other: a directory is for one kind only. */
function pinFormat(path: string): void {
  const FORMAT = 'holdfast-locks 1 kernel\n';
  const file = join(path, 'FORMAT');
  try {
    writeFileSync(file, FORMAT, { flag: 'wx', mode: 0o660 });
    chmodSync(file, 0o660);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const found = readFileSync(file, 'utf8');
    // Empty: another process has made it this instant and not written it yet.
    if (found !== FORMAT && found !== '') {
      throw new LockDirectoryError(
        path,
        `the lock directory ${path} is in use for locks of another kind: ${found.trim()}`,
      );
    }
  }
}

/** What may not be looked at is there. */
function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

function canMake(path: string): boolean {
  try {
    make(path);
    return true;
  } catch {
    return false;
  }
}

/** The lock files there are; none where the directory is not. */
export function lockFilesIn(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isFile() && entry.name.endsWith('.lock')).map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw directoryError(directory, error);
  }
}
