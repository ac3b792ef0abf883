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
import { isOrphan, ownerOf } from './tag.ts';

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

/** Lists what dead owners left on this host, and ends it if asked to. */
export async function sweep(kill: boolean): Promise<Orphan[]> {
  const own = ownLine();
  const found = allPids()
    .filter((pid) => !own.has(pid) && isOrphan(pid))
    .map(identityOf);
  const described = found.map((process) => ({ process, ...describe(process) }));
  if (kill) await endAll(found);
  return described.map(({ process, ...orphan }) => ({ ...orphan, ended: kill && !isAlive(process) }));
}

/** This process and those above it: whoever sweeps may be left behind itself. */
function ownLine(): Set<number> {
  const line = new Set<number>();
  for (let pid = process.pid; pid > 0 && !line.has(pid); pid = processStat(pid)?.parent ?? 0) line.add(pid);
  return line;
}

function describe(process: ProcessIdentity): Omit<Orphan, 'ended'> {
  const { pid } = process;
  const command = visibleCommandLine(pid);
  return { pid, ownerPid: ownerOf(pid)?.pid ?? 0, command, startedAt: startedAt(process) ?? wallClock() };
}

async function endAll(found: readonly ProcessIdentity[]): Promise<void> {
  const deadline = now() + END_LIMIT_MS;
  let left = found.filter(isAlive);
  while (left.length > 0 && now() < deadline) {
    for (const each of left) end(each);
    await sleep(5);
    left = left.filter(isAlive);
  }
}

function end(orphan: ProcessIdentity): void {
  // Looked at once more: the pid may be a stranger's by now.
  if (!isAlive(orphan) || !isOrphan(orphan.pid)) return;
  try {
    process.kill(orphan.pid, 'SIGKILL');
  } catch {
    // gone, or another user's, which is told by `ended`
  }
}
