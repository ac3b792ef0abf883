import { forkCount, hasProc, pidLimit } from '../internal/proc.ts';
import { afterPoll, now, sleep } from '../internal/time.ts';
import { type Found, scan, sequenceIn } from './scan.ts';
import { tagName } from './tag.ts';

/** A child whose processes are looked for. */
interface Search {
  readonly sequence: number;
  /** The pid of its leader. */
  readonly leader: number;
  /** What {@link forksBefore} told before its start. */
  readonly forks: number | undefined;
  /** Whether those in its process group matter too, tagged or not. */
  readonly withGroup: boolean;
  /** Called at once, while the scan goes on. */
  readonly onFound: (found: Found<number>) => void;
}

/** Between tries to look where something lacks. */
const RETRY_MS = 50;

/** How long this event loop may be kept from its work at a time. */
const SLICE_MS = 3;

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
    const searches = this.#waiting;
    this.#waiting = [];
    this.#next = undefined;
    this.#running = lookUntilDone(searches);
    return this.#running;
  }
}

/** For want of descriptors or memory a look may be incomplete, and what was found tells nothing of what was not. */
async function lookUntilDone(searches: readonly Search[]): Promise<void> {
  for (;;) {
    try {
      return await lookFor(searches);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      await sleep(RETRY_MS);
    }
  }
}

/** One child may be looked for more than once: by who wants it to end, and by who waits until it has. */
async function lookFor(searches: readonly Search[]): Promise<void> {
  const markIn = (environ: string) => sequenceIn(environ, tagName());
  const groups = new Set(searches.map(({ leader }) => leader));
  const members = new Set(searches.filter(({ withGroup }) => withGroup).map(({ leader }) => leader));
  let begin = now();
  for (const found of scan(markIn, { groups, members, since: oldestLeader(searches) })) {
    if (found) for (const search of searches) if (isOf(search, found)) search.onFound(found);
    if (now() - begin < SLICE_MS) continue;
    await new Promise<void>((resolve) => afterPoll(resolve));
    begin = now();
  }
}

function isOf({ sequence, leader, withGroup }: Search, { mark, processGroup }: Found<number>): boolean {
  return mark === sequence || (withGroup && processGroup === leader);
}

/**
 * The first pid that can matter, if the pids have not gone round since the oldest was started: they are given out in the
 * order of their numbers.
 */
function oldestLeader(searches: readonly Search[]): number | undefined {
  const { leader, forks } = searches.reduce((a, b) => (a.sequence < b.sequence ? a : b));
  if (forks === undefined) return undefined;
  const count = forkCount();
  // Some numbers are taken and left out, so that a round may be shorter than their count.
  return count !== undefined && count - forks < pidLimit() / 2 ? leader : undefined;
}

/** How old a count may be that only has to be old enough. */
const COUNT_AGE_MS = 1_000;

let counted: { readonly atMs: number; readonly forks: number | undefined } | undefined;

/** How many processes had been started on this host, at some time before; it takes long to tell where there are many cores. */
export function forksBefore(): number | undefined {
  if (!counted || now() - counted.atMs > COUNT_AGE_MS) counted = { atMs: now(), forks: forkCount() };
  return counted.forks;
}

/** The sweeper of this process. */
export const sweeper: Sweeper = new Sweeper();
