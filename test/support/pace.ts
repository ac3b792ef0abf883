import { spawnSync } from 'node:child_process';

/** How long a process takes, in Node, from its start to its end, where the times were measured that the library promises. */
const REFERENCE_MS = 3;
/** What is slower by more is no machine to promise times on. */
const SLOWEST = 4;
const SAMPLES = 31;

/**
 * By how much this machine is slower than the one of the promises, from 1: the median of some starts of a program that
 * does nothing, with nothing of the library in it.
 */
export function measuredPace(): number {
  const samples = Array.from({ length: SAMPLES }, () => {
    const before = performance.now();
    spawnSync('true', { stdio: 'ignore' });
    return performance.now() - before;
  });
  const median = samples.sort((a, b) => a - b)[(SAMPLES - 1) / 2] as number;
  return Math.min(Math.max(median / REFERENCE_MS, 1), SLOWEST);
}
