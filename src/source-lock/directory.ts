import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { LockDirectoryError } from '../errors.ts';

const SHARED_DIRECTORY = '/run/holdfast/locks';

/** Where the lock files are, and whether only this user sees them. */
export interface LockDirectory {
  readonly path: string;
  readonly perUser: boolean;
}

/**
 * `dir`, else `$HOLDFAST_LOCK_DIR`, else the directory that all users of the host share. Only where that can't be made is
 * it one of this user. A directory that exists and may not be written is an error later, never a silent other place.
 */
export function lockDirectory(dir: string | undefined): LockDirectory {
  const chosen = dir ?? (process.env.HOLDFAST_LOCK_DIR || undefined);
  if (chosen !== undefined) return { path: resolve(chosen), perUser: false };
  if (exists(SHARED_DIRECTORY) || canMake(SHARED_DIRECTORY)) return { path: SHARED_DIRECTORY, perUser: false };
  const runtime = process.env.XDG_RUNTIME_DIR;
  const path = runtime ? join(runtime, 'holdfast/locks') : join(tmpdir(), `holdfast-${userInfo().uid}`, 'locks');
  return { path, perUser: true };
}

/** Makes the directory where it is missing and pins it to the kernel's kind of lock. */
export function prepareDirectory(path: string): void {
  try {
    make(path);
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

/** Group members share the locks whatever the umask says; only what is made here is changed. */
function make(path: string): void {
  const first = mkdirSync(path, { recursive: true });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) chmodSync(made, 0o770);
}

/** OFD locks and flock(2) do not see each other: a directory is for one kind only. */
function pinFormat(path: string): void {
  const FORMAT = 'holdfast-locks 1 kernel\n';
  const file = join(path, 'FORMAT');
  try {
    writeFileSync(file, FORMAT, { flag: 'wx', mode: 0o660 });
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

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function canMake(path: string): boolean {
  try {
    make(path);
    return true;
  } catch {
    return false;
  }
}
