// Owners are killed at random instants of a loop that starts children. What counts is what lives a second later.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { killProcess, processesWithMark } from '../support/processes.ts';
import { mulberry32 } from '../support/random.ts';

export interface OwnerKills {
  readonly owners: number;
  /** Processes there were when their owners were killed. */
  readonly processes: number;
  /** Owners of whom something lived on. */
  readonly withSurvivors: number;
  readonly survivors: number;
  /** What they were, and whether they were gone after all. */
  readonly found: readonly string[];
  /** From the death of an owner until nothing of it was seen, the longest. */
  readonly longestMs: number;
  readonly seed: number;
}

/** What there was a second after the death of an owner. */
interface Remains {
  readonly processes: number;
  readonly survivors: readonly string[];
  /** When the last of it was seen, after the death of the owner. */
  readonly seenMs: number;
}

const NAME = 'HOLDFAST_STRESS_OWNER';
const AT_A_TIME = 4;
const LATEST_MS = 50;
/** From the death of an owner until its processes are counted. */
const LIMIT_MS = 1_000;
/** What survived is watched until then, to tell what is late from what is forgotten. */
const WATCHED_MS = 15_000;
const BETWEEN_LOOKS_MS = 50;

/** @param limitMs no owner is started after it. */
export async function ownerKills(
  owners: number,
  limitMs: number,
  seed: number = randomInt(2 ** 31),
): Promise<OwnerKills> {
  console.log(`seed ${seed}`);
  const random = mulberry32(seed);
  const delays = Array.from({ length: owners }, () => random() * LATEST_MS);
  const deadline = performance.now() + limitMs;
  const counts: Promise<Remains>[] = [];
  const work = async () => {
    for (let delay = delays.pop(); delay !== undefined; delay = delays.pop()) {
      if (performance.now() > deadline) return;
      counts.push(remainsOf(await killOne(delay)));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const results = await Promise.all(counts);
  const found = results.flatMap(({ survivors }) => survivors);
  return {
    owners: results.length,
    processes: results.reduce((sum, { processes }) => sum + processes, 0),
    withSurvivors: results.filter(({ survivors }) => survivors.length > 0).length,
    survivors: found.length,
    found,
    longestMs: Math.round(Math.max(...results.map(({ seenMs }) => seenMs))),
    seed,
  };
}

/** An owner that is dead. */
interface Dead {
  readonly mark: string;
  readonly sinceMs: number;
  /** How many processes it had. */
  readonly processes: number;
}

async function killOne(delayMs: number): Promise<Dead> {
  const mark = randomUUID();
  const hook = new URL('../../scripts/from-source.mjs', import.meta.url).pathname;
  const program = new URL('./spawning-owner.ts', import.meta.url).pathname;
  const owner: ChildProcess = spawn(process.execPath, ['--import', hook, program], {
    env: { ...process.env, [NAME]: mark },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(owner, 'exit');
  try {
    if (owner.stdout) await once(owner.stdout, 'data');
    await sleep(delayMs);
  } finally {
    owner.kill('SIGKILL');
  }
  const processes = left(mark).filter(({ pid }) => pid !== owner.pid).length;
  await exit;
  return { mark, sinceMs: performance.now(), processes };
}

/**
 * What there is of it a second later. One look that finds nothing is not enough before: a process that is about to change its
 * program shows no environment.
 */
async function remainsOf({ mark, sinceMs, processes }: Dead): Promise<Remains> {
  const elapsedMs = () => performance.now() - sinceMs;
  let seenMs = 0;
  const look = () => {
    const there = left(mark);
    if (there.length > 0) seenMs = elapsedMs();
    return there;
  };
  try {
    while (elapsedMs() < LIMIT_MS) {
      look();
      await sleep(BETWEEN_LOOKS_MS);
    }
    const survivors = look();
    while (look().length > 0 && elapsedMs() < WATCHED_MS) await sleep(BETWEEN_LOOKS_MS);
    const fate = elapsedMs() < WATCHED_MS ? `gone after ${Math.round(elapsedMs())} ms` : 'there for good';
    return { processes, survivors: survivors.map(({ command }) => `${command}: ${fate}`), seenMs };
  } finally {
    for (const { pid } of left(mark)) killProcess(pid);
  }
}

function left(mark: string): ReturnType<typeof processesWithMark> {
  return processesWithMark(`${NAME}=${mark}`);
}
