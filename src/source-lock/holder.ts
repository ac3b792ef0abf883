import { closeSync, constants, openSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { LockHolder } from '../errors.ts';
import * as proc from '../internal/proc.ts';
import { redactCredentials } from '../internal/redact.ts';
import { wallClock } from '../internal/time.ts';
import type { InspectContext, LockPlace } from './backend.ts';
import { directoryError } from './directory-error.ts';
import type { LockKind } from './kernel-lock.ts';
import { type DescriptorLock, kernelDevice, type LockTable, lockOf, lockTable } from './lock-table.ts';
import { isTaker } from './open-file-lock.ts';
import { readSidecar, type Sidecar } from './sidecar.ts';

/** Who holds these lock files now, those left out that nobody holds, or nobody any more. Reads only. */
export function holdersOf(
  places: readonly LockPlace[],
  kind: LockKind,
  { isRefused = false }: InspectContext = {},
): LockHolder[] {
  let snapshot: { readonly table: LockTable } | undefined;
  const table = () => {
    snapshot ??= { table: lockTable() };
    return snapshot.table;
  };
  const holders = places.map((place) => holderOf(place, kind, table) ?? (isRefused ? claimedHolder(place) : undefined));
  return holders.filter((holder) => holder !== undefined);
}

/** Of a lock that somebody has for sure, and of whom nothing can be seen from this pid namespace. */
function claimedHolder(place: LockPlace): LockHolder | undefined {
  const meta = readSidecar(place.path);
  return meta && isForeign(meta) && !meta.released ? toHolder(place, meta, 'meta') : undefined;
}

function holderOf(place: LockPlace, kind: LockKind, table: () => LockTable): LockHolder | undefined {
  const meta = readSidecar(place.path);
  const inode = inodeOf(place.path);
  if (inode === undefined) return displacedHolder(place, '', meta);
  if (meta && isProvenHolder(meta, inode)) return toHolder(place, meta, 'kernel+meta');
  const displaced = displacedHolder(place, inode, meta);
  if (displaced) return displaced;
  const file = { ...place, inode };
  const locks = table();
  const shown = locks?.({ kind, inode, device: deviceOf(place.path) });
  if (shown && kind === 'kernel') return holderOfRange(file, shown, meta);
  // In the pid namespace of a container the flock(2) of a program that has ended is not shown.
  const isFree = locks && !shown && (kind === 'kernel' || !proc.isContained());
  return isFree ? undefined : holderUnseen(file, shown, meta);
}

/** A lock file that is there. */
interface LockedFile extends LockPlace {
  readonly inode: string;
}

function inodeOf(path: string): string | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino.toString();
  } catch (error) {
    throw directoryError(dirname(path), error);
  }
}

function deviceOf(path: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw directoryError(dirname(path), error);
  }
  try {
    return kernelDevice(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The descriptor that the sidecar tells of is locked. Most of the time this can be seen, and it is all it takes. */
function isProvenHolder(meta: Sidecar, inode: string): boolean {
  if (meta.descriptor === undefined || isForeign(meta) || !isLiving(meta)) return false;
  return lockOf(meta.pid, meta.descriptor, inode) !== undefined;
}

/** Another pid namespace's pids mean nothing here. */
function isForeign(meta: Sidecar): boolean {
  return meta.pidNamespace !== proc.surroundings().pidNamespace;
}

function isLiving(meta: Sidecar): boolean {
  return !meta.released && meta.bootId === proc.surroundings().bootId && proc.isAlive(meta);
}

/**
 * The holder of a lock file that was removed or replaced at its path, and of which only the sidecar is left: its owner, or
 * for a dead one what it left. The kernel has that lock still, wherever the file is.
 */
export function displacedHolder(place: LockPlace, inode: string, meta: Sidecar | undefined): LockHolder | undefined {
  if (!meta?.lockInode || meta.lockInode === inode || meta.bootId !== proc.surroundings().bootId) return undefined;
  const table = lockTable();
  const taker = table?.({ kind: 'kernel', inode: meta.lockInode });
  const isHeld = taker ? isTaker(taker, meta) : table?.({ kind: 'flock', inode: meta.lockInode }) !== undefined;
  if (isForeign(meta) ? isHeld : isLiving(meta)) return toHolder(place, meta, 'meta');
  if (!isHeld || isForeign(meta)) return undefined;
  const orphans = meta.children.filter(proc.isAlive).map(({ pid }) => pid);
  const removed = { path: `${place.path} (deleted)`, inode: meta.lockInode };
  const [pid, ...rest] = orphans.length > 0 ? orphans : withLock(removed, others(meta.pid)).map((each) => each.pid);
  if (pid === undefined) return undefined;
  const holder = describe(place, pid, 'meta', new Date(meta.started));
  return { ...holder, orphanOf: meta.pid, children: [pid, ...rest] };
}

/** The range names its taker. From another pid namespace it agrees with the sidecar or not, which is enough. */
function holderOfRange(
  file: LockedFile,
  taker: proc.ProcessIdentity,
  meta: Sidecar | undefined,
): LockHolder | undefined {
  if (meta && isTaker(taker, meta)) {
    if (isForeign(meta) || isLiving(meta)) return toHolder(file, meta, 'kernel+meta');
    return orphanOf(file, taker, meta, 'kernel+meta');
  }
  const present = proc.processStat(taker.pid);
  // The lock is taken, the sidecar not written yet.
  if (present && isTaker(taker, present)) return describe(file, taker.pid, 'kernel', wallClock());
  return orphanOf(file, taker, undefined, 'kernel');
}

/**
 * The kernel does not tell who has the lock: it hides its table, or names the program that called flock(2), whoever it left
 * the lock to. So it is the sidecar's word if its holder lives, else who can be seen to have the lock.
 */
function holderUnseen(
  file: LockedFile,
  shown: proc.ProcessIdentity | undefined,
  meta: Sidecar | undefined,
): LockHolder | undefined {
  if (meta && (isForeign(meta) ? shown : isLiving(meta))) return toHolder(file, meta, 'meta');
  const orphan = orphanOf(file, meta, meta, 'meta');
  if (orphan || !shown) return orphan;
  const isNamed = proc.isAlive({ pid: shown.pid, startTicks: 0 }) && !isLockingForAnother(shown.pid);
  return isNamed ? describe(file, shown.pid, 'kernel') : undefined;
}

/**
 * The taker is gone or has let go, so a process that inherited the descriptor holds the lock, or another program; nobody,
 * if the taker is just about to.
 */
function orphanOf(
  file: LockedFile,
  taker: proc.ProcessIdentity | undefined,
  meta: Sidecar | undefined,
  verified: LockHolder['verified'],
): LockHolder | undefined {
  const recorded = meta?.children.filter(proc.isAlive).map(({ pid }) => pid) ?? [];
  // While it was looked for the next may have taken the lock: that is another range.
  const isOfTaker = ({ lock }: Keeper) => verified === 'meta' || (lock.taker && taker && isTaker(lock.taker, taker));
  let found = withLock(file, recorded).filter(isOfTaker);
  if (found.length === 0) found = withLock(file, others(taker?.pid)).filter(isOfTaker);
  // Of another user's processes nothing can be seen; the lock is shown and they are known to have got it.
  if (found.length === 0 && verified !== 'meta')
    found = recorded.map((pid) => ({ pid, lock: { hasInherited: true, taker } }));
  // Looking took its time: if the sidecar is another's by now, so may be the lock.
  if (readSidecar(file.path)?.token !== meta?.token) return undefined;
  const [eldest] = found;
  // One that has said that it lets go may be stopped before it does.
  if (!eldest) return meta && withLock(file, [meta.pid]).length > 0 ? toHolder(file, meta, verified) : undefined;
  // Who opened the file itself is the next holder; what the sidecar tells is of the one before.
  const isNext = verified === 'meta' && !eldest.lock.hasInherited;
  const since = meta && !isNext ? new Date(meta.started) : undefined;
  const holder = describe(file, eldest.pid, since ? verified : 'kernel', since);
  if (taker === undefined || isNext) return holder;
  return { ...holder, orphanOf: taker.pid, children: found.map(({ pid }) => pid) };
}

/** A holder that wrote no sidecar, or of whose owner only that is left. */
function describe({ key, path }: LockPlace, pid: number, verified: LockHolder['verified'], since?: Date): LockHolder {
  const { host } = proc.surroundings();
  const startedAt = (since ?? proc.startedAt(proc.identityOf(pid)) ?? wallClock()).toISOString();
  const command = redactCredentials(proc.commandLine(pid) || '(unknown)');
  return { key, path, pid, host, startedAt, command, verified };
}

/** The processes that have the lock of this file by a descriptor, but for `taker`; the eldest first. */
export function inheritorsOf(path: string, taker: number): number[] {
  const inode = inodeOf(path);
  return inode === undefined ? [] : withLock({ path, inode }, others(taker)).map(({ pid }) => pid);
}

function others(taker: number | undefined): number[] {
  return proc.allPids().filter((pid) => pid !== taker);
}

/** A process that has a lock, by a descriptor that it opened or one that it was given. */
interface Keeper {
  readonly pid: number;
  readonly lock: DescriptorLock;
}

/** The program flock that the backend of that name runs, or what is about to become it. */
function isLockingForAnother(pid: number): boolean {
  const command = proc.commandLine(pid);
  return !command || /(^|\/)flock -(x -n|x -w [\d.]+|u) 3$/.test(command);
}

/** Those of the processes that have the lock; who merely has the file open does not hold it. */
function withLock({ path, inode }: Pick<LockedFile, 'path' | 'inode'>, pids: readonly number[]): Keeper[] {
  const real = realPath(path);
  const keepers = pids.flatMap((pid) => {
    const locks = descriptorsOf(pid, real).map((descriptor) => lockOf(pid, descriptor, inode));
    const lock = locks.find((each) => each !== undefined);
    return lock && !isLockingForAnother(pid) ? [{ ...proc.identityOf(pid), lock }] : [];
  });
  return keepers.sort((a, b) => a.startTicks - b.startTicks);
}

function realPath(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path;
  }
}

function descriptorsOf(pid: number, path: string): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).filter((descriptor) => proc.readLink(`${folder}/${descriptor}`) === path);
  } catch {
    return []; // another user's, or gone
  }
}

/** A sidecar in the words of the public interface. */
export function toHolder({ key, path }: LockPlace, meta: Sidecar, verified: LockHolder['verified']): LockHolder {
  const { pid, host, started, cmd, children } = meta;
  const holder: LockHolder = { key, path, pid, host, startedAt: started, command: cmd, verified };
  if (children.length > 0) holder.children = children.map((child) => child.pid);
  return holder;
}
