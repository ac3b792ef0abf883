import { LockUnsupportedError } from '../errors.ts';
import { type ProcessIdentity, self } from '../internal/proc.ts';
import { now, sleep } from '../internal/time.ts';
import type { Patience } from './backend.ts';
import type { KernelLock } from './kernel-lock.ts';

const PID_BITS = 2 ** 22;
const TICKS_LIMIT = 2 ** 31;

/** Far behind every range that names a taker: who waits locks this byte to be the next. */
const TURNSTILE = 2 ** 60;
/** The next pauses for this part of the time that it has been the next, within bounds: it takes less than 1 % of a core. */
const PAUSE_SHARE = 1 / 10;
const SHORTEST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 200;
/** How often the others look whether they can be the next, new ones no more often than old ones. */
const TURN_PAUSE_MS = 160;
/** How often one that is not the next tries all the same: the next may be stopped and must not hold up the others. */
const TRIES_PER_OVERTAKING = 3;

/** What is used of `fs-native-extensions`. */
interface Addon {
  tryLock(descriptor: number, offset: number, length: number, options?: { readonly shared: boolean }): boolean;
  unlock(descriptor: number, offset: number, length: number): void;
}

let loading: Promise<OpenFileLock> | undefined;

/** Loaded when the first lock is taken: importing this package loads no binary. */
export function openFileLock(): Promise<KernelLock> {
  loading ??= import('fs-native-extensions').then(
    ({ default: addon }) => new OpenFileLock(addon),
    (cause) => {
      loading = undefined;
      throw new LockUnsupportedError(
        'kernel locks can not be used here: the package fs-native-extensions did not load (it has no build for musl); ' +
          "leave the option backend at 'auto' or give 'flock'",
        cause,
      );
    },
  );
  return loading;
}

/**
 * Open-file-description locks (OFD, `fcntl(2)`) over a range of bytes.
 *
 * The length of the range carries who took it, so that `/proc/locks` shows pid and start time in the same instant in which
 * the lock exists, and not a moment longer. Every range contains byte 0: it is a mutex all the same.
 */
class OpenFileLock implements KernelLock {
  readonly name = 'kernel';
  readonly #addon: Addon;

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  lock(descriptor: number, patience?: Patience): boolean | Promise<boolean> {
    if (patience) return this.#lockInTurn(descriptor, patience);
    // Nothing is taken only to be given back: who is refused meanwhile would take this process for the holder.
    return !this.#isSomeoneNext(descriptor) && this.#tryLock(descriptor);
  }

  unlock(descriptor: number): void {
    this.#addon.unlock(descriptor, 0, rangeLength(self()));
  }

  /** A holder that lets go and comes back at once would always be faster than who looks now and then, but for the turnstile. */
  async #lockInTurn(descriptor: number, { deadline, signal }: Patience): Promise<boolean> {
    let nextSince: number | undefined;
    try {
      for (let tries = 1; ; tries++) {
        if (nextSince === undefined && this.#addon.tryLock(descriptor, TURNSTILE, 1)) nextSince = now();
        const leftMs = deadline - now();
        const mayTry = nextSince !== undefined || leftMs <= 0 || tries % TRIES_PER_OVERTAKING === 0;
        if (mayTry && this.#tryLock(descriptor)) return true;
        if (leftMs <= 0) return false;
        await sleep(Math.min(pauseMs(nextSince), Math.max(leftMs, 1)), signal);
      }
    } finally {
      if (nextSince !== undefined) this.#addon.unlock(descriptor, TURNSTILE, 1);
    }
  }

  /** Shared, so that those who only ask do not take each other for the next. */
  #isSomeoneNext(descriptor: number): boolean {
    if (!this.#addon.tryLock(descriptor, TURNSTILE, 1, { shared: true })) return true;
    this.#addon.unlock(descriptor, TURNSTILE, 1);
    return false;
  }

  #tryLock(descriptor: number): boolean {
    return this.#addon.tryLock(descriptor, 0, rangeLength(self()));
  }
}

function pauseMs(nextSince: number | undefined): number {
  if (nextSince === undefined) return TURN_PAUSE_MS;
  return Math.min(Math.max((now() - nextSince) * PAUSE_SHARE, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS);
}

function rangeLength({ pid, startTicks }: ProcessIdentity): number {
  return (startTicks % TICKS_LIMIT) * PID_BITS + pid + 1;
}

/** Who took the range that ends with this byte; of the start time it keeps only a part. */
export function takerOf(lastByte: number): ProcessIdentity {
  return { pid: lastByte % PID_BITS, startTicks: Math.floor(lastByte / PID_BITS) };
}

/** Whether a process is the one that a range names; each may be known by the part of its start time that a range keeps. */
export function isTaker(taker: ProcessIdentity, { pid, startTicks }: ProcessIdentity): boolean {
  return taker.pid === pid && taker.startTicks % TICKS_LIMIT === startTicks % TICKS_LIMIT;
}
