import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { AdmissionError } from '../errors.ts';
import { checkKnown, checkNumber, checkPositive, show } from '../internal/options.ts';
import { type Memory, memories } from './free-memory.ts';

/**
 * Asked before a process is to be started: what speaks against one more, in words for an operator; `undefined` for nothing.
 * It must answer at once.
 */
export type AdmissionCheck = () => string | undefined;

/** Throws what the first that refuses says. */
export function admit(checks: readonly AdmissionCheck[]): void {
  for (const check of checks) {
    const why: unknown = check();
    if (typeof why === 'string') throw new AdmissionError(why);
    if (why !== undefined)
      throw new TypeError(`an admission check must return a text or undefined, received ${show(why)}`);
  }
}

/**
 * Refuses when less memory is free than this, in bytes or as a part of what there is: of the host, and of every cgroup that
 * limits this process. What the kernel caches of files counts as free.
 *
 * @example minFreeMemory({ fraction: 0.1 })
 */
export function minFreeMemory(least: number | { readonly fraction: number }): AdmissionCheck {
  if (typeof least === 'number') checkNumber('minFreeMemory', least, { max: Number.MAX_SAFE_INTEGER });
  else {
    checkKnown('minFreeMemory', least, ['fraction']);
    checkPositive('fraction', least.fraction, 1);
  }
  const wanted = ({ total }: Memory) => (typeof least === 'number' ? least : least.fraction * total);
  return () => {
    const scarce = memories().find((memory) => memory.free < wanted(memory));
    if (!scarce) return undefined;
    const { where, free } = scarce;
    return `${mebibytes(free)} of memory are free ${where}, less than ${mebibytes(wanted(scarce))} (minFreeMemory)`;
  };
}

/** Refuses when this process can open fewer descriptors than this before it meets its limit (`ulimit -n`). Needs `/proc`. */
export function minFreeFds(count: number): AdmissionCheck {
  checkNumber('minFreeFds', count, { integer: true, max: Number.MAX_SAFE_INTEGER });
  return () => {
    const free = freeDescriptors();
    return free < count ? `${free} descriptors are free, fewer than ${count} (minFreeFds)` : undefined;
  };
}

/** Infinite where there is no `/proc` to tell. */
function freeDescriptors(): number {
  try {
    const open = readdirSync('/proc/self/fd').length;
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return limit === undefined ? Number.POSITIVE_INFINITY : Number(limit) - open;
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return isMissing ? Number.POSITIVE_INFINITY : 0;
  }
}

/** Refuses when the load of the last minute is more than this for each core that this process may use. */
export function maxLoad(perCore: number): AdmissionCheck {
  checkPositive('maxLoad', perCore);
  return () => {
    const load = (loadavg()[0] ?? 0) / availableParallelism();
    return load > perCore ? `the load is ${load.toFixed(2)} for each core, more than ${perCore} (maxLoad)` : undefined;
  };
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 20)} MiB`;
}
