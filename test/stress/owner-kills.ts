// Owners are killed at random instants of a loop that starts children. What counts is what lives a second later.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { processesWithMark } from '../support/processes.ts';
import { mulberry32 } from '../support/random.ts';

export interface OwnerKills {
  readonly owners: number;
  /** Processes there were when their owners were killed. */
  readonly processes: number;
  /** Owners of whom something lived on. */
  readonly withSurvivors: number;
  readonly survivors: number;
  readonly seed: number;
}

const NAME = 'HOLDFAST_STRESS_OWNER';
const AT_A_TIME = 4;
const LATEST_MS = 50;
/** From the death of an owner until its processes are counted. */
const LIMIT_MS = 1_000;

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
  const results: { processes: number; survivors: number }[] = [];
  const work = async () => {
    for (let delay = delays.pop(); delay !== undefined; delay = delays.pop()) {
      if (performance.now() > deadline) return;
      results.push(await killOne(delay));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  return {
    owners: results.length,
    processes: results.reduce((sum, { processes }) => sum + processes, 0),
    withSurvivors: results.filter(({ survivors }) => survivors > 0).length,
    survivors: results.reduce((sum, { survivors }) => sum + survivors, 0),
    seed,
  };
}

async function killOne(delayMs: number): Promise<{ processes: number; survivors: number }> {
  const mark = randomUUID();
  const hook = new URL('../../scripts/from-source.mjs', import.meta.url).pathname;
  const program = new URL('./spawning-owner.ts', import.meta.url).pathname;
  const owner: ChildProcess = spawn(process.execPath, ['--import', hook, program], {
    env: { ...process.env, [NAME]: mark },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(owner, 'exit');
  const left = () => processesWithMark(`${NAME}=${mark}`).filter(({ pid }) => pid !== owner.pid);
  try {
    if (owner.stdout) await once(owner.stdout, 'data');
    await sleep(delayMs);
    owner.kill('SIGKILL');
    const processes = left().length;
    await exit;
    const deadline = performance.now() + LIMIT_MS;
    while (left().length > 0 && performance.now() < deadline) await sleep(20);
    return { processes, survivors: left().length };
  } finally {
    owner.kill('SIGKILL');
    for (const { pid } of left()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it is gone
      }
    }
  }
}
