import { readdirSync } from 'node:fs';
import type { LockHolder } from '../errors.ts';
import * as proc from '../internal/proc.ts';
import { redactCredentials } from '../internal/redact.ts';
import { wallClock } from '../internal/time.ts';
import { isTaker, type KernelPlace, lockTable } from './kernel-lock.ts';
import { readSidecar, type Sidecar } from './sidecar.ts';

/** A lock file, as far as naming its holder needs it. */
export interface LockedFile extends KernelPlace {
  readonly path: string;
  readonly key: string;
}

/** Who holds the lock now; undefined if nobody does, or nobody any more. Reads only. */
export function nameHolder(
  file: LockedFile,
  table: ReturnType<typeof lockTable> = lockTable(),
): LockHolder | undefined {
  const meta = readSidecar(file.path);
  if (!table) return meta && nameBySidecar(file, meta);
  const taker = table(file);
  if (!taker) return displacedHolder(file, file.inode, meta);
  if (!meta || !isTaker(taker, meta)) return nameByKernel(file, taker) ?? nameOrphan(file, taker, undefined);
  if (isForeign(meta) || (proc.isAlive(meta) && !meta.released)) return toHolder(file, meta, 'kernel+meta');
  return nameOrphan(file, taker, meta);
}

/** Another pid namespace's pids mean nothing here; there the kernel's word and the sidecar's agree, which is enough. */
function isForeign(meta: Sidecar): boolean {
  return meta.pidNamespace !== proc.surroundings().pidNamespace;
}

/** The holder of a lock file that was removed or replaced at its path, as long as it lives. */
export function displacedHolder(
  file: Pick<LockedFile, 'key' | 'path'>,
  inode: number,
  meta: Sidecar | undefined,
): LockHolder | undefined {
  if (!meta || meta.lockInode === inode || isForeign(meta) || meta.released) return undefined;
  if (meta.bootId !== proc.surroundings().bootId || !proc.isAlive(meta)) return undefined;
  return toHolder(file, meta, 'meta');
}

function nameBySidecar(file: LockedFile, meta: Sidecar): LockHolder | undefined {
  if (meta.bootId !== proc.surroundings().bootId) return undefined;
  if (proc.isAlive(meta) && !meta.released) return toHolder(file, meta, 'meta');
  const child = meta.children.find(proc.isAlive);
  return child && { ...toHolder(file, meta, 'meta'), ...orphaned(child.pid, meta.pid) };
}

/** The lock is taken, the sidecar not written yet. */
function nameByKernel({ key, path }: LockedFile, taker: proc.ProcessIdentity): LockHolder | undefined {
  const startTicks = proc.processStat(taker.pid)?.startTicks;
  if (startTicks === undefined || !isTaker(taker, { pid: taker.pid, startTicks })) return undefined;
  const { host } = proc.surroundings();
  const startedAt = wallClock().toISOString();
  return { key, path, pid: taker.pid, host, startedAt, command: commandOf(taker.pid), verified: 'kernel' };
}

/**
 * The taker is gone or has let go, so a process that inherited the descriptor holds the lock; nobody, if the taker is
 * just about to.
 */
function nameOrphan(file: LockedFile, taker: proc.ProcessIdentity, meta: Sidecar | undefined): LockHolder | undefined {
  const recorded = meta?.children.filter(proc.isAlive).map(({ pid }) => pid) ?? [];
  const [pid, ...others] = recorded.length > 0 ? recorded : inheritorsOf(file.path, taker.pid);
  if (pid === undefined) return undefined;
  const { host } = proc.surroundings();
  const startedAt = meta?.started ?? proc.startedAt(proc.identityOf(pid))?.toISOString() ?? wallClock().toISOString();
  const { key, path } = file;
  const verified = meta ? 'kernel+meta' : 'kernel';
  return { key, path, host, startedAt, verified, ...orphaned(pid, taker.pid), children: [pid, ...others] };
}

function orphaned(pid: number, orphanOf: number): Pick<LockHolder, 'pid' | 'command' | 'orphanOf'> {
  return { pid, command: commandOf(pid), orphanOf };
}

function commandOf(pid: number): string {
  return redactCredentials(proc.commandLine(pid) || '(unknown)');
}

/** The processes that hold the lock of this file by a descriptor that they inherited from `taker`. */
export function inheritorsOf(path: string, taker: number): number[] {
  return proc.allPids().filter((pid) => pid !== taker && descriptorsOf(pid, path).some((each) => hasLock(pid, each)));
}

function descriptorsOf(pid: number, path: string): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).filter((descriptor) => proc.readLink(`${folder}/${descriptor}`) === path);
  } catch {
    return []; // another user's, or gone
  }
}

/** Who merely has the file open does not hold it. */
function hasLock(pid: number, descriptor: string): boolean {
  return /^lock:/m.test(proc.read(`/proc/${pid}/fdinfo/${descriptor}`) ?? '');
}

/** A sidecar in the words of the public interface. */
export function toHolder(
  { key, path }: Pick<LockedFile, 'key' | 'path'>,
  meta: Sidecar,
  verified: LockHolder['verified'],
): LockHolder {
  const { pid, host, started, cmd, children } = meta;
  const holder: LockHolder = { key, path, pid, host, startedAt: started, command: cmd, verified };
  if (children.length > 0) holder.children = children.map((child) => child.pid);
  return holder;
}
