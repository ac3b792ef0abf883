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

/** Lists what dead owners left on this host, and ends what is chosen of it. */
export async function sweep(isToEnd: (orphan: Orphan) => boolean): Promise<Orphan[]> {
  const sighted = new Sightings(isToEnd);
  const first = [...findAll()].map((left) => sighted.add(left));
  if (first.some(({ isChosen }) => isChosen)) await endAll(sighted, first);
  return sighted.all.map(({ orphan, isChosen, ...identity }) => ({ ...orphan, ended: isChosen && !isAlive(identity) }));
}

/** An orphan, and whether it is to be ended. */
interface Sighting extends Left {
  readonly orphan: Orphan;
  readonly isChosen: boolean;
}

/** What was seen of orphans; each is judged once. */
class Sightings {
  readonly #isToEnd: (orphan: Orphan) => boolean;
  readonly #all = new Map<string, Sighting>();

  constructor(isToEnd: (orphan: Orphan) => boolean) {
    this.#isToEnd = isToEnd;
  }

  get all(): readonly Sighting[] {
    return [...this.#all.values()];
  }

  add({ pid, startTicks, owner }: Left): Sighting {
    const known = this.#all.get(keyOf({ pid, startTicks }));
    if (known) return known;
    const orphan = describe({ pid, startTicks, owner });
    const sighting = { pid, startTicks, owner, orphan, isChosen: this.#isToEnd(orphan) };
    this.#all.set(keyOf(sighting), sighting);
    return sighting;
  }

  /** Whether something that this owner left is to be ended. */
  hasChosenOf(owner: ProcessIdentity): boolean {
    return this.all.some((one) => one.isChosen && keyOf(one.owner) === keyOf(owner));
  }
}

function keyOf({ pid, startTicks }: ProcessIdentity): string {
  return `${pid}:${startTicks}`;
}

/** Each as it is found, for it may fork and exit all the time; until there are no more. */
async function endAll(sighted: Sightings, first: readonly Sighting[]): Promise<void> {
  const deadline = now() + END_LIMIT_MS;
  let found: Iterable<Sighting> = first;
  for (let isAny = true; isAny && now() < deadline; found = seenAgain(sighted)) {
    isAny = false;
    for (const one of found) {
      if (!one.isChosen) continue;
      isAny = true;
      end(one);
    }
    await sleep(5);
  }
  for (const { path, owner } of deadCgroups()) if (sighted.hasChosenOf(owner)) removeCgroup(path);
}

function* seenAgain(sighted: Sightings): Generator<Sighting> {
  for (const left of findAll()) yield sighted.add(left);
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

function describe(left: Left): Orphan {
  const { pid, owner } = left;
  const command = visibleCommandLine(pid);
  return { pid, ownerPid: owner.pid, command, startedAt: startedAt(left) ?? wallClock(), ended: false };
}

function end(orphan: ProcessIdentity): void {
  // Looked at once more: the pid may be a stranger's by now.
  if (isAlive(orphan)) send(orphan.pid, 'SIGKILL');
}
