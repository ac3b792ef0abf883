import { closeSync, constants, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { LockHolder } from '../errors.ts';
import * as proc from '../internal/proc.ts';
import { wallClock } from '../internal/time.ts';
import type { InspectContext, LockPlace, Tenure } from './backend.ts';
import { directoryError } from './directory-error.ts';
import {
  hidesDescriptors,
  inodeOf,
  isLockingForAnother,
  type Keeper,
  type LockedFile,
  others,
  withLock,
} from './keepers.ts';
import type { LockKind } from './kernel-lock.ts';
import { kernelDevice, type LockTable, lockOf, lockTable } from './lock-table.ts';
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
  const claimed = (place: LockPlace) => {
    const isContradicted = kind === 'kernel' && table() !== undefined; // the range has another taker
    return isRefused && !isContradicted ? claimedHolder(place) : undefined;
  };
  const holders = places.map((place) => holderOf(place, kind, table) ?? claimed(place));
  return holders.filter((holder) => holder !== undefined);
}

/** Of a lock that somebody has, and of whom nothing can be seen from this pid namespace. */
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

type LockedPlace = LockedFile & LockPlace;

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
  const pid = isForeign(meta) ? rememberedPid(meta) : isLiving(meta) ? meta.pid : undefined;
  if (pid === undefined || meta.descriptor === undefined) return false;
  return lockOf(pid, meta.descriptor, inode) !== undefined;
}

/** The pids here of holders in other pid namespaces, by the tokens of their tenures: to find one takes all of `/proc`. */
const remembered = new Map<string, number>();
const MOST_REMEMBERED = 1_000;

function rememberAs(pid: number, { token }: Sidecar): void {
  if (remembered.size >= MOST_REMEMBERED) remembered.clear();
  remembered.set(token, pid);
}

function rememberedPid(meta: Sidecar): number | undefined {
  const pid = meta.released ? undefined : remembered.get(meta.token);
  return pid !== undefined && isTaker(meta, proc.innerIdentityOf(pid)) ? pid : undefined;
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
  file: LockedPlace,
  taker: proc.ProcessIdentity,
  meta: Sidecar | undefined,
): LockHolder | undefined {
  if (meta && isTaker(taker, meta)) {
    if (!isForeign(meta) && isLiving(meta)) return toHolder(file, meta, 'kernel+meta');
    const seen = holderByDescriptor(file, taker, meta, 'kernel+meta');
    return seen || !isForeign(meta) ? seen : toHolder(file, meta, 'kernel+meta');
  }
  const present = proc.processStat(taker.pid);
  // The lock is taken, the sidecar not written yet.
  if (present && isTaker(taker, present)) return describe(file, taker.pid, 'kernel', wallClock());
  return holderByDescriptor(file, taker, undefined, 'kernel');
}

/**
 * The kernel does not tell who has the lock: it hides its table, or names the program that called flock(2), whoever it left
 * the lock to. So it is the sidecar's word if its holder lives, else who can be seen to have the lock.
 */
function holderUnseen(
  file: LockedPlace,
  shown: proc.ProcessIdentity | undefined,
  meta: Sidecar | undefined,
): LockHolder | undefined {
  if (meta && !isForeign(meta) && isLiving(meta)) return toHolder(file, meta, 'meta');
  const seen = holderByDescriptor(file, meta, meta, 'meta');
  if (seen || !shown) return seen;
  const isNamed = proc.isAlive({ pid: shown.pid, startTicks: 0 }) && !isLockingForAnother(shown.pid);
  return isNamed ? describe(file, shown.pid, 'kernel') : claimedHolder(file);
}

/**
 * Who can be seen to have the lock by a descriptor: the taker under another pid, as of another pid namespace, a process that
 * inherited it when the taker is gone or has let go, or another program; nobody, if the taker is just about to let go.
 */
function holderByDescriptor(
  file: LockedPlace,
  taker: proc.ProcessIdentity | undefined,
  meta: Sidecar | undefined,
  verified: LockHolder['verified'],
): LockHolder | undefined {
  const found = keepersOf(file, taker, meta, verified);
  // Looking took its time: if the sidecar is another's by now, so may be the lock.
  if (readSidecar(file.path)?.token !== meta?.token) return undefined;
  const owner = taker && found.find(({ pid }) => isTaker(taker, proc.innerIdentityOf(pid)));
  const rest = found.filter((keeper) => keeper !== owner);
  const [eldest] = rest;
  // One that has said that it lets go may be stopped before it does.
  if (owner && (!eldest || !meta?.released)) {
    if (!meta) return describe(file, owner.pid, 'kernel', wallClock());
    if (isForeign(meta)) rememberAs(owner.pid, meta);
    return toHolder(file, meta, verified);
  }
  if (!eldest) return undefined;
  // Who opened the file itself is the next holder; what the sidecar tells is of the one before.
  const isNext = verified === 'meta' && !eldest.lock.hasInherited;
  const since = meta && !isNext ? new Date(meta.started) : undefined;
  const holder = describe(file, eldest.pid, since ? verified : 'kernel', since);
  if (taker === undefined || isNext) return holder;
  return { ...holder, orphanOf: taker.pid, children: rest.map(({ pid }) => pid) };
}

function keepersOf(
  file: LockedFile,
  taker: proc.ProcessIdentity | undefined,
  meta: Sidecar | undefined,
  verified: LockHolder['verified'],
): readonly Keeper[] {
  const children = meta && !isForeign(meta) ? meta.children : [];
  const recorded = children.filter(proc.isAlive).map(({ pid }) => pid);
  // While it was looked for the next may have taken the lock: that is another range.
  const isOfTaker = ({ lock }: Keeper) => verified === 'meta' || (lock.taker && taker && isTaker(lock.taker, taker));
  for (const pids of [recorded, proc.allPids()]) {
    const found = withLock(file, pids).filter(isOfTaker);
    if (found.length > 0) return found;
  }
  // Of another user's processes nothing can be seen; the lock is shown and they are known to have got it.
  const hidden = verified === 'meta' ? [] : recorded.filter(hidesDescriptors);
  return hidden.map((pid) => ({ pid, lock: { hasInherited: true, closesOnExec: false, taker } }));
}

/** A holder that wrote no sidecar, or of whose owner only that is left. */
function describe({ key, path }: LockPlace, pid: number, verified: LockHolder['verified'], since?: Date): LockHolder {
  const { host } = proc.surroundings();
  const startedAt = (since ?? proc.startedAt(proc.identityOf(pid)) ?? wallClock()).toISOString();
  const command = proc.visibleCommandLine(pid);
  return { key, path, pid, host, startedAt, command, verified };
}

/** Of the tenure before, if its sidecar tells that it did not end by a release. */
export function deathOf(place: LockPlace, left: Sidecar | undefined): Pick<Tenure, 'reclaimedFrom' | 'deadProcess'> {
  if (!left || left.released) return {};
  const { bootId, pidNamespace, pid, startTicks } = left;
  const deadProcess = [bootId, pidNamespace, pid, startTicks].join(':');
  return { reclaimedFrom: toHolder(place, left, 'meta'), deadProcess };
}

/** A sidecar in the words of the public interface. */
export function toHolder({ key, path }: LockPlace, meta: Sidecar, verified: LockHolder['verified']): LockHolder {
  const { pid, host, started, cmd, children } = meta;
  const holder: LockHolder = { key, path, pid, host, startedAt: started, command: cmd, verified };
  if (children.length > 0) holder.children = children.map((child) => child.pid);
  return holder;
}
