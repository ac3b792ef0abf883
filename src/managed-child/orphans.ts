import { basename } from 'node:path';
import {
  hasProc,
  identityOf,
  isAlive,
  type ProcessIdentity,
  processStat,
  send,
  startedAt,
  visibleCommandLine,
} from '../internal/proc.ts';
import { now, sleep, wallClock } from '../internal/time.ts';
import { allCgroups, membersOf, removeCgroup } from './cgroup.ts';
import { scan } from './scan.ts';
import { deadOwnerIn, deadOwnerOf } from './tag.ts';

/** A process of a tree whose owner is dead. */
export interface Orphan {
  readonly pid: number;
  /** The pid that its owner had. */
  readonly ownerPid: number;
  /** Command line, credentials removed. */
  readonly command: string;
  /** The time of the look where the start can't be read. */
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
  const orphans = new Map<string, Omit<Orphan, 'ended'> & ProcessIdentity>();
  const list = (left: Left) => {
    const key = `${left.pid}:${left.startTicks}`;
    if (!orphans.has(key)) orphans.set(key, describe(left));
  };
  const first = [...findAll()];
  first.forEach(list);
  if (kill) await endAll(first, list);
  return [...orphans.values()].map(({ startTicks, ...orphan }) => ({
    ...orphan,
    ended: kill && !isAlive({ pid: orphan.pid, startTicks }),
  }));
}

/** Each as it is found, for it may fork and exit all the time; until there are no more. */
async function endAll(first: readonly Left[], onFound: (left: Left) => void): Promise<void> {
  const deadline = now() + END_LIMIT_MS;
  let found: Iterable<Left> = first;
  for (let isAny = true; isAny && now() < deadline; found = findAll()) {
    isAny = false;
    for (const left of found) {
      isAny = true;
      onFound(left);
      end(left);
    }
    await sleep(5);
  }
  for (const { path } of deadCgroups()) removeCgroup(path);
}

/** By tag, and by the cgroups of dead owners, in which are also those that have cleared their environment. */
function* findAll(): Generator<Left> {
  if (!hasProc()) return;
  const spared = ownLine();
  // A service manager adopts too, if it is a subreaper.
  const isOlder = (parent: ProcessIdentity, owner: ProcessIdentity) => parent.startTicks < owner.startTicks;
  for (const found of scan(deadOwnerOf, { groups: new Set(), isOlder })) {
    if (found?.mark && !spared.has(found.pid)) yield { ...found, owner: found.mark };
  }
  for (const { path, owner } of deadCgroups()) {
    for (const pid of membersOf(path)) if (!spared.has(pid)) yield { ...identityOf(pid), owner };
  }
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

function describe(left: Left): Omit<Orphan, 'ended'> & ProcessIdentity {
  const { pid, startTicks, owner } = left;
  const command = visibleCommandLine(pid);
  return { pid, startTicks, ownerPid: owner.pid, command, startedAt: startedAt(left) ?? wallClock() };
}

function end(orphan: ProcessIdentity): void {
  // Looked at once more: the pid may be a stranger's by now.
  if (isAlive(orphan)) send(orphan.pid, 'SIGKILL');
}
