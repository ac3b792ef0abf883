import { basename } from 'node:path';
import {
  allPids,
  identityOf,
  isAlive,
  type ProcessIdentity,
  processStat,
  startedAt,
  visibleCommandLine,
} from '../internal/proc.ts';
import { now, sleep, wallClock } from '../internal/time.ts';
import { allCgroups, membersOf, removeCgroup } from './cgroup.ts';
import { deadOwnerIn, deadOwnerOf } from './tag.ts';

/** A process of a tree whose owner is dead. */
export interface Orphan {
  readonly pid: number;
  /** The pid that its owner had. */
  readonly ownerPid: number;
  /** Command line, credentials removed. */
  readonly command: string;
  readonly startedAt: Date;
  /** Whether it was told to end and is gone. */
  readonly ended: boolean;
}

/** How long to wait for what was killed to be gone; more is the kernel's (uninterruptible input or output). */
const END_LIMIT_MS = 5_000;

/** A process and the dead owner that left it behind. */
interface Left extends ProcessIdentity {
  readonly owner: ProcessIdentity;
}

/** Lists what dead owners left on this host, and ends it if asked to. */
export async function sweep(kill: boolean): Promise<Orphan[]> {
  const found = findAll();
  const described = found.map((left) => ({ left, ...describe(left) }));
  if (kill) await endAll(found);
  return described.map(({ left, ...orphan }) => ({ ...orphan, ended: kill && !isAlive(left) }));
}

/** By tag, and by the cgroups of dead owners, in which are also those that have cleared their environment. */
function findAll(): Left[] {
  const owners = new Map<number, ProcessIdentity | undefined>();
  for (const pid of allPids()) owners.set(pid, deadOwnerOf(pid));
  for (const { path, owner } of deadCgroups()) for (const pid of membersOf(path)) owners.set(pid, owner);
  for (const pid of ownLine()) owners.delete(pid);
  return [...owners].flatMap(([pid, owner]) => (owner ? [{ ...identityOf(pid), owner }] : []));
}

function deadCgroups(): { readonly path: string; readonly owner: ProcessIdentity }[] {
  return allCgroups().flatMap((path) => {
    const owner = deadOwnerIn(basename(path));
    return owner ? [{ path, owner }] : [];
  });
}

/** This process and those above it: whoever sweeps may be left behind itself. */
function ownLine(): Set<number> {
  const line = new Set<number>();
  for (let pid = process.pid; pid > 0 && !line.has(pid); pid = processStat(pid)?.parent ?? 0) line.add(pid);
  return line;
}

function describe(left: Left): Omit<Orphan, 'ended'> {
  const command = visibleCommandLine(left.pid);
  return { pid: left.pid, ownerPid: left.owner.pid, command, startedAt: startedAt(left) ?? wallClock() };
}

/** Until nothing is left, for what is killed may have just started another. */
async function endAll(found: readonly Left[]): Promise<void> {
  const deadline = now() + END_LIMIT_MS;
  for (let left = found; left.length > 0 && now() < deadline; left = findAll()) {
    for (const each of left) end(each);
    await sleep(5);
  }
  for (const { path } of deadCgroups()) removeCgroup(path);
}

function end(orphan: ProcessIdentity): void {
  // Looked at once more: the pid may be a stranger's by now.
  if (!isAlive(orphan)) return;
  try {
    process.kill(orphan.pid, 'SIGKILL');
  } catch {
    // gone, or another user's, which is told by `ended`
  }
}
