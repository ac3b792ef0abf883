/**
 * The only user of clocks and timers. They are looked up when called, so that a user's fake timers work
 * (`node:timers/promises` and `AbortSignal.timeout` would escape them).
 */
import { NOTHING, onAbort } from './abort.ts';

/** Milliseconds of the monotonic clock. */
export function now(): number {
  return performance.now();
}

/** Milliseconds of the monotonic clock that the processes of a host have in common. */
export function hostNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Wall-clock time, for people and for other machines; never for a duration. */
export function wallClock(): Date {
  return new Date(Date.now());
}

/** The longest delay a timer can take: 2^31 - 1 ms, 24.8 days. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** Calls back once after `ms`, soon if that is negative, never for `Infinity`. Dispose to cancel. `idle` timers don't keep the process alive. */
export function after(ms: number, callback: () => void, options?: { readonly idle?: boolean }): Disposable {
  if (ms === Number.POSITIVE_INFINITY) return NOTHING;
  let timer: NodeJS.Timeout;
  const wait = (leftMs: number) => {
    const next = leftMs > MAX_TIMER_MS ? () => wait(leftMs - MAX_TIMER_MS) : callback;
    // Node warns of a time that has passed already.
    timer = setTimeout(next, Math.min(Math.max(leftMs, 0), MAX_TIMER_MS));
    if (options?.idle) timer.unref();
  };
  wait(ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Calls back every `ms` without keeping the process alive. Dispose to stop. */
export function every(ms: number, callback: () => void): Disposable {
  const timer = setInterval(callback, Math.min(ms, MAX_TIMER_MS));
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Resolves after `ms`; rejects with `signal.reason` if aborted before, the timer gone either way. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = after(ms, () => {
      listening[Symbol.dispose]();
      resolve();
    });
    const listening = onAbort(signal, (reason) => {
      timer[Symbol.dispose]();
      reject(reason);
    });
  });
}

/** Settles as `promise` does, or rejects with what `tooLate` makes after `ms`. `promise` goes on by itself. */
export function within<T>(ms: number, promise: Promise<T>, tooLate: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = after(ms, () => reject(tooLate()));
    promise.then(resolve, reject).finally(() => timer[Symbol.dispose]());
  });
}

/** Resolves after `ms` without keeping the process alive. */
export function idle(ms: number): Promise<void> {
  return new Promise((resolve) => {
    after(ms, resolve, { idle: true });
  });
}

/** Calls back when the event loop has read what its descriptors had to offer. Dispose to cancel. */
export function afterPoll(callback: () => void): Disposable {
  const immediate = setImmediate(callback);
  return { [Symbol.dispose]: () => clearImmediate(immediate) };
}
