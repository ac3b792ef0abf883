import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { LockDirectoryError } from '../errors.ts';
import { directoryError } from './directory-error.ts';
import { networkFileSystem } from './network-file-system.ts';

/** For all users of the host. */
export const SHARED_DIRECTORY = '/run/holdfast/locks';

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
  if (dir !== undefined) return { path: resolve(dir), perUser: false };
  const { HOLDFAST_LOCK_DIR, XDG_RUNTIME_DIR } = process.env;
  if (HOLDFAST_LOCK_DIR) return { path: resolve(HOLDFAST_LOCK_DIR), perUser: false };
  const isShared = exists(SHARED_DIRECTORY) || (purpose === 'acquire' && canMake(SHARED_DIRECTORY));
  if (isShared) return { path: SHARED_DIRECTORY, perUser: false };
  const base = XDG_RUNTIME_DIR ? join(XDG_RUNTIME_DIR, 'holdfast') : join(tmpdir(), `holdfast-${userInfo().uid}`);
  return { path: join(base, 'locks'), perUser: true };
}

/** The directories that were prepared, by path. */
const prepared = new Map<string, Prepared>();

interface Prepared {
  readonly format: string;
  /** Of FORMAT: tells when another was put in its place. */
  readonly stamp: string;
  readonly group: number;
}

/** Makes the directory where it is missing and pins it to a kind of lock: those of different kinds do not see each other. */
export function prepareDirectory({ path, perUser }: LockDirectory, format: string): void {
  const known = prepared.get(path);
  if (known?.format === format && known.stamp === stampOf(path)) return;
  try {
    make(path);
    if (perUser) checkOwn(path);
    if (format !== 'lease') checkLocal(path);
    pinFormat(path, format);
  } catch (error) {
    throw error instanceof LockDirectoryError ? error : directoryError(path, error);
  }
  const stamp = stampOf(path);
  if (stamp) prepared.set(path, { format, stamp, group: statSync(path).gid });
}

/** What `fstat` tells of whose a file is. */
type Ownership = Readonly<Record<'mode' | 'uid' | 'gid', number | bigint>>;

/**
 * Gives a file of a lock directory to the group of that, whatever the umask and the group of the one who made it. A file
 * elsewhere stays as its operator wants it.
 *
 * @param present whose it is now; without it, it was made by this process just now
 */
export function shareWithGroup(descriptor: number, path: string, present?: Ownership): void {
  const group = prepared.get(dirname(path))?.group;
  if (group !== undefined) giveToGroup(descriptor, group, present);
}

function giveToGroup(descriptor: number, group: number, present?: Ownership): void {
  const user = process.geteuid?.() ?? 0;
  if (present && Number(present.uid) !== user) return;
  if (!present || (Number(present.mode) & 0o777) !== 0o660) fchmodSync(descriptor, 0o660);
  if (Number(present?.gid ?? process.getegid?.()) === group) return;
  try {
    fchownSync(descriptor, user, group);
  } catch {
    // this user is not in that group, so it is not by the group that the directory is shared
  }
}

function stampOf(path: string): string | undefined {
  try {
    const stats = statSync(join(path, 'FORMAT'), { throwIfNoEntry: false });
    return stats && `${stats.ino} ${stats.mtimeMs} ${stats.size}`;
  } catch {
    return undefined;
  }
}

/** Kernel locks exclude the processes of one host, and on a network file system none or all, as the server likes. */
export function checkLocal(path: string): void {
  const type = networkFileSystem(path);
  if (type === undefined) return;
  const why = `is on a network file system (${type}), where kernel locks may not exclude other hosts`;
  const advice = "choose a local one with the option dir or HOLDFAST_LOCK_DIR, or give the option backend: 'lease'";
  throw new LockDirectoryError(path, `the lock directory ${path} ${why}; ${advice}`);
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
    mkdirSync(path, HALF_MADE);
    chmodSync(path, 0o770);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) return false;
    if (code !== 'EEXIST' || !statSync(path).isDirectory()) throw error;
    finishMaking(path);
    return true;
  }
}

/** Made with the sticky bit, which it has no use for: so one that was killed before the next step can be told. */
const HALF_MADE = 0o1770;

function finishMaking(path: string): void {
  const { mode, uid } = statSync(path);
  const isHalfMade = (mode & 0o7007) === (HALF_MADE & 0o7007) && uid === process.geteuid?.();
  if (isHalfMade && readdirSync(path).length === 0) chmodSync(path, 0o770);
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

function pinFormat(path: string, format: string): void {
  const text = `holdfast-locks 1 ${format}\n`;
  const file = join(path, 'FORMAT');
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  let descriptor: number;
  try {
    descriptor = openSync(file, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o660);
  } catch (error) {
    if (formatOf(path) === format) return; // of another user, who lets this one only read it
    throw error;
  }
  try {
    const found = readFileSync(descriptor, 'utf8');
    // Empty: it was made this instant, by this process or another, or by one that died before it could write.
    if (found === '') writeSync(descriptor, text, 0);
    else if (found !== text) throw otherFormat(path, found);
    giveToGroup(descriptor, statSync(path).gid, fstatSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}

function otherFormat(path: string, found: string): LockDirectoryError {
  const advice = `give the option backend: '${formatIn(found) ?? 'auto'}', or choose another directory`;
  const why = `is in use for locks of another kind (${found.trim().slice(0, 80)})`;
  return new LockDirectoryError(path, `the lock directory ${path} ${why}; ${advice}`);
}

/** What a directory is pinned to; undefined where that is not known. */
export function formatOf(directory: string): string | undefined {
  try {
    return formatIn(readFileSync(join(directory, 'FORMAT'), 'utf8'));
  } catch {
    return undefined;
  }
}

function formatIn(text: string): string | undefined {
  return /^holdfast-locks 1 (\S+)\n$/.exec(text)?.[1];
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

/** The lock files there are, by path; none where the directory is not. */
export function lockFilesIn(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    // Of a lease there is only the folder beside the place of its file.
    const names = entries.flatMap((entry) => {
      const name = entry.isDirectory() ? entry.name.replace(/(?<=\.lock)\.lease$/, '') : entry.name;
      return name.endsWith('.lock') && (entry.isFile() || name !== entry.name) ? [name] : [];
    });
    return names.map((name) => join(directory, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw directoryError(directory, error);
  }
}
