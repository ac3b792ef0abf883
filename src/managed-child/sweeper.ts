import { readdirSync, readFileSync } from 'node:fs';
import { hasProc, parseStat } from '../internal/proc.ts';
import { afterPoll, now } from '../internal/time.ts';
import { scanTagged, type Tagged } from './scan.ts';
import { tagName } from './tag.ts';

/** A child whose processes are looked for. */
interface Search {
  readonly sequence: number;
  /** The pid of its leader. */
  readonly leader: number;
  readonly startedMs: number;
  /** Called at once, while the scan goes on. */
  readonly onFound: (found: Tagged) => void;
}

/** How long this event loop may be kept from its work at a time. */
const SLICE_MS = 3;

/** Too short for the pids to have gone round once since the child was started, so that only younger ones matter. */
const YOUNG_MS = 100;

/**
 * Finds the processes of children by their tag. However many children end at once, one scan at a time looks for all of
 * them; what is asked for while it runs shares the next.
 */
class Sweeper {
  #waiting: Search[] = [];
  #next: Promise<void> | undefined;
  #running: Promise<void> = Promise.resolve();

  /** Resolves when every process that lived at that time was looked at. */
  search(search: Search): Promise<void> {
    if (!hasProc()) return Promise.resolve();
    this.#waiting.push(search);
    this.#next ??= this.#running.then(() => this.#scan());
    return this.#next;
  }

  #scan(): Promise<void> {
    const searches = new Map(this.#waiting.map((search) => [search.sequence, search]));
    this.#waiting = [];
    this.#next = undefined;
    this.#running = lookFor(searches);
    return this.#running;
  }
}

async function lookFor(searches: ReadonlyMap<number, Search>): Promise<void> {
  const scan = scanTagged({ readFileSync, readdirSync, parseStat }, tagName(), process.pid, oldestLeader(searches));
  let begin = now();
  for (const found of scan) {
    if (found) searches.get(found.sequence)?.onFound(found);
    if (now() - begin < SLICE_MS) continue;
    await new Promise<void>((resolve) => afterPoll(resolve));
    begin = now();
  }
}

/** Where the pids of young children begin; those were given out in the order of their numbers. */
function oldestLeader(searches: ReadonlyMap<number, Search>): number | undefined {
  const all = [...searches.values()];
  const oldest = all.reduce((a, b) => (a.sequence < b.sequence ? a : b));
  return now() - oldest.startedMs < YOUNG_MS ? oldest.leader : undefined;
}

/** The sweeper of this process. */
export const sweeper: Sweeper = new Sweeper();
