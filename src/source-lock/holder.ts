import { readdirSync } from 'node:fs';
import type { LockHolder } from '../errors.ts';
import * as proc from '../internal/proc.ts';
import { redactCredentials } from '../internal/redact.ts';
import { wallClock } from '../internal/time.ts';
import { isTaker, type LockPlace, lockTable } from './kernel-lock.ts';
import { readSidecar, type Sidecar } from './sidecar.ts';

/** A lock file, as far as naming its holder needs it. */
export interface LockedFile extends LockPlace {
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
  if (!taker) return undefined;
  if (!meta || !isTaker(taker, meta)) return nameByKernel(file, taker) ?? nameOrphan(file, taker, undefined);
  if (isForeign(meta) || (proc.isAlive(meta) && !meta.released)) return toHolder(file, meta, 'kernel+meta');
  return nameOrphan(file, taker, meta);
}

/** Another pid namespace's pids mean nothing here; there the kernel's word and the sidecar's agree, which is enough. */
function isForeign(meta: Sidecar): boolean {
  return meta.pidNamespace !== proc.surroundings().pidNamespace;
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

/** The taker is gone, so a process that inherited the descriptor holds the lock. */
function nameOrphan(file: LockedFile, taker: proc.ProcessIdentity, meta: Sidecar | undefined): LockHolder | undefined {
  const recorded = meta?.children.filter(proc.isAlive).map(({ pid }) => pid) ?? [];
  const [pid, ...others] = recorded.length > 0 ? recorded : processesWithOpen(file.path);
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

/** Our processes that have the lock file open, other than this one. */
export function processesWithOpen(path: string): number[] {
  return proc.allPids().filter((pid) => pid !== process.pid && descriptorsOf(pid).includes(path));
}

function descriptorsOf(pid: number): (string | undefined)[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).map((descriptor) => proc.readLink(`${folder}/${descriptor}`));
  } catch {
    return []; // another user's, or gone
  }
}

/** A sidecar in the words of the public interface. */
export function toHolder({ key, path }: LockedFile, meta: Sidecar, verified: LockHolder['verified']): LockHolder {
  const { pid, host, started, cmd, children } = meta;
  const holder: LockHolder = { key, path, pid, host, startedAt: started, command: cmd, verified };
  if (children.length > 0) holder.children = children.map((child) => child.pid);
  return holder;
}
