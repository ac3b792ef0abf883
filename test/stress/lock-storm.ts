// Many processes fight for few sources, and any of them may be killed, stopped or blocked at any time.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildExitError, ManagedChild, SourceLock } from 'holdfast';
import { Journal, readJournal } from './journal.ts';
import { isClean, judge, type Verdict } from './judge.ts';

interface StormOptions {
  readonly processes: number;
  readonly seconds: number;
  readonly backend: 'auto' | 'kernel' | 'flock';
  /** false is the control: without the lock there must be double holding. */
  readonly locked: boolean;
}

/** One of the places to fight from; who is killed is followed by another. */
interface Place {
  /** The process that is there, by its number and as it is. */
  number: number;
  child: ManagedChild | undefined;
  /** Something is being done to it. */
  isTaken: boolean;
}

const HANG_MS: readonly [number, number] = [15_000, 20_000];

export async function lockStorm({ processes, seconds, backend, locked }: StormOptions): Promise<Verdict> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-storm-'));
  mkdirSync(join(dir, 'locks'));
  let isKept = false;
  try {
    await unleash(dir, processes, seconds, [backend, locked ? 'on' : 'off']);
    const verdict = judge(readJournal(join(dir, 'journal')));
    isKept = locked && !isClean(verdict);
    return verdict;
  } finally {
    if (isKept) console.log(`what happened is kept in ${dir}/journal`);
    else rmSync(dir, { recursive: true, force: true });
  }
}

async function unleash(dir: string, processes: number, seconds: number, args: readonly string[]): Promise<void> {
  using journal = new Journal(join(dir, 'journal'));
  await using storm = new Storm(dir, journal, args);
  await storm.start(processes);
  const end = performance.now() + seconds * 1000;
  await Promise.all([storm.kill(end), storm.stop(end), storm.stop(end), storm.block(end)]);
}

class Storm {
  readonly #dir: string;
  readonly #journal: Journal;
  readonly #args: readonly string[];
  readonly #places: Place[] = [];
  #started = 0;
  #isOver = false;
  /** Settles when nobody is being started. */
  #starting: Promise<unknown> = Promise.resolve();

  constructor(dir: string, journal: Journal, args: readonly string[]) {
    this.#dir = dir;
    this.#journal = journal;
    this.#args = args;
  }

  async start(count: number): Promise<void> {
    for (let place = 0; place < count; place++) {
      this.#places.push({ number: 0, child: undefined, isTaken: false });
    }
    this.#starting = Promise.all(this.#places.map((place) => this.#fill(place)));
    await this.#starting;
  }

  /** Again and again one is killed, at any point of its program. */
  async kill(end: number): Promise<void> {
    while (performance.now() < end) {
      await pause([300, 600]);
      await this.#withAny(this.#free(), (_child, place) => this.#kill(place));
    }
  }

  /** Again and again one is stopped, better one that has a lock; in the end it goes on, or is killed. */
  async stop(end: number): Promise<void> {
    while (performance.now() + HANG_MS[0] < end) {
      const holders = await SourceLock.list({ dir: join(this.#dir, 'locks') });
      const holding = this.#free().filter(({ child }) => holders.some(({ pid }) => pid === child?.pid));
      await this.#withAny(holding.length > 0 ? holding : this.#free(), async (child, place) => {
        const { number } = place;
        this.#journal.tell({ what: 'stopping', process: number });
        signal(child, 'SIGSTOP');
        await pause(HANG_MS);
        if (Math.random() < 0.25) return this.#kill(place);
        signal(child, 'SIGCONT');
        this.#journal.tell({ what: 'continued', process: number });
      });
      await pause([0, 1_000]);
    }
  }

  /** Again and again one blocks its event loop the next time it has a lock. */
  async block(end: number): Promise<void> {
    while (performance.now() + HANG_MS[0] < end) {
      await this.#withAny(this.#free(), async (child) => {
        signal(child, 'SIGUSR2');
        await pause([HANG_MS[1] + 1_000, HANG_MS[1] + 2_000]);
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled([this.#starting]);
    await Promise.all(this.#places.map((place) => this.#kill(place)));
  }

  #free(): Place[] {
    return this.#places.filter(({ child, isTaken }) => child && !isTaken);
  }

  async #withAny(places: readonly Place[], what: (child: ManagedChild, place: Place) => Promise<void>): Promise<void> {
    const place = places[Math.floor(Math.random() * places.length)];
    if (!place?.child) return;
    place.isTaken = true;
    await what(place.child, place);
    place.isTaken = false;
  }

  async #kill({ child, number }: Place): Promise<void> {
    if (!child) return;
    this.#journal.tell({ what: 'killing', process: number });
    await child.terminate();
  }

  /** Whoever is there and however it ends: another takes its place. */
  async #fill(place: Place): Promise<void> {
    if (this.#isOver) return;
    const number = this.#started++;
    const child = await this.#spawn(number).catch(unlessEnded);
    const follow = () => {
      place.child = undefined;
      this.#journal.tell({ what: 'dead', process: number });
      return this.#fill(place);
    };
    if (!child) return follow();
    Object.assign(place, { child, number });
    child.exited.then(() => {
      this.#starting = Promise.all([this.#starting, follow()]);
    });
  }

  #spawn(number: number): Promise<ManagedChild> {
    const hook = new URL('../../scripts/from-source.mjs', import.meta.url).pathname;
    const program = new URL('./storm-process.ts', import.meta.url).pathname;
    const args = ['--import', hook, program, this.#dir, String(number), ...this.#args];
    return ManagedChild.spawn(process.execPath, args, {
      // Most of the time of a start goes into compiling, which leaves the others little.
      env: { ...process.env, NODE_COMPILE_CACHE: join(this.#dir, 'compiled') },
      graceMs: 0,
      stderr: 'inherit',
      ready: { when: 'stdout', timeoutMs: 60_000 },
    });
  }
}

/** One may kill itself before this process has seen that it was ready. */
function unlessEnded(error: unknown): undefined {
  if (!(error instanceof ChildExitError)) throw error;
}

/** It may have ended itself this very moment. */
function signal({ pid }: ManagedChild, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function pause([least, most]: readonly [number, number]): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, least + Math.random() * (most - least)));
}
