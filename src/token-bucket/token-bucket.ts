import { AcquireTimeoutError, ClosedError, WaiterLimitError } from '../errors.ts';
import { onAbort } from '../internal/abort.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import type { Place } from '../internal/linked-queue.ts';
import { checkKnown, checkNumber, checkPositive, checkSignal } from '../internal/options.ts';
import { after, now } from '../internal/time.ts';
import { type Claim, Ledger } from './ledger.ts';
import { resolveOptions, type TokenBucketOptions } from './options.ts';

/** How long a take may wait. */
export interface TakeOptions {
  /** Ends the waiting; nothing is taken then. */
  readonly signal?: AbortSignal | undefined;
  /**
   * A take that can't be met within so many milliseconds fails at once. 0 does not wait.
   * @default 90_000
   */
  readonly timeoutMs?: number | undefined;
}

/** Tokens that will be there in a while; the caller waits by itself. */
export interface Reservation {
  /** In how many milliseconds the tokens are there, from the call of `reserve` on. Sooner if an earlier one is cancelled. */
  readonly delayMs: number;
  /** Gives all of it back, and who waits behind moves up. Call it if the tokens were not used; once only counts. */
  cancel(): void;
}

/** A take that waits. */
interface Waiter extends Claim {
  refuse(reason: unknown): void;
}

const publish = diagnosticsOf('token-bucket');

/**
 * Limits a rate: so many a second, and bursts of so many. Most callers want `take`, which waits for its turn; `tryTake`
 * does not wait, and `reserve` tells how long to wait.
 *
 * Takes and reservations are served in order, each at its time: a large one is not overtaken by the small ones behind it, and
 * those whose time came while the event loop was blocked are served together when it is not any more. Nothing runs while
 * nobody waits, and one timer however many do. It limits one process.
 *
 * The algorithm is that of `golang.org/x/time/rate`, with a queue in the place of its debt, so that a cancelled reservation
 * gives back exactly what it had.
 *
 * @example
 * const spawns = new TokenBucket({ capacity: 10, refillPerSecond: 5 });
 * await spawns.take(); // ms waited
 */
export class TokenBucket implements Disposable {
  readonly capacity: number;
  readonly refillPerSecond: number;
  readonly #ledger: Ledger;
  readonly #maxWaiters: number;
  readonly #waiters = new Set<Waiter>();
  #timer: Disposable | undefined;
  #isClosed = false;

  constructor(options: TokenBucketOptions) {
    const limits = resolveOptions(options);
    this.capacity = limits.capacity;
    this.refillPerSecond = limits.refillPerSecond;
    this.#maxWaiters = limits.maxWaiters;
    this.#ledger = new Ledger(limits, now());
    publish('created', { bucket: this });
  }

  /** What `tryTake` could take now, as a fraction if it is one; 0 while others wait, and when it is closed. */
  get available(): number {
    return this.#isClosed ? 0 : this.#ledger.available(now());
  }

  /** How many takes wait for their tokens. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /**
   * Takes `count` tokens if they are there and nobody waits for them; false otherwise, and if the bucket is closed.
   *
   * @throws RangeError if `count` is more than the capacity
   */
  tryTake(count: number = 1): boolean {
    checkPositive('count', count, this.capacity);
    return !this.#isClosed && this.#ledger.tryTake(count, now());
  }

  /**
   * Takes `count` tokens as soon as they are there and those who came before have theirs.
   *
   * Safe to cancel: an abort takes nothing, and whoever waits behind moves up.
   *
   * @returns how many milliseconds it waited
   * @throws AcquireTimeoutError at once if they can't be had within `timeoutMs`
   * @throws WaiterLimitError if `maxWaiters` wait already
   * @throws ClosedError if the bucket is or gets closed
   * @throws RangeError if `count` is more than the capacity
   */
  async take(count: number = 1, options: TakeOptions = {}): Promise<number> {
    checkPositive('count', count, this.capacity);
    checkKnown('take', options, ['signal', 'timeoutMs']);
    const signal = checkSignal(options.signal);
    const timeoutMs = checkNumber('timeoutMs', options.timeoutMs ?? 90_000);
    signal?.throwIfAborted();
    this.#checkOpen();
    const begin = now();
    if (this.#ledger.tryTake(count, begin)) return 0;
    const delayMs = this.#ledger.delayOf(count, begin);
    if (delayMs > timeoutMs) throw this.#tooLate(count, delayMs, timeoutMs);
    if (this.#waiters.size >= this.#maxWaiters) throw new WaiterLimitError('the bucket', this.#maxWaiters);
    await this.#wait(count, signal);
    return now() - begin;
  }

  /**
   * Takes `count` tokens in advance: they are the caller's `delayMs` from now.
   *
   * @throws ClosedError if the bucket is closed
   * @throws RangeError if `count` is more than the capacity
   */
  reserve(count: number = 1): Reservation {
    checkPositive('count', count, this.capacity);
    this.#checkOpen();
    const delayMs = this.#ledger.delayOf(count, now());
    const place = this.#ledger.claim({ count, granted: () => true });
    let isCancelled = false;
    return {
      delayMs,
      cancel: () => {
        if (isCancelled) return;
        isCancelled = true;
        this.#cancel(place);
      },
    };
  }

  /** Ends all waiting with `ClosedError`; nothing can be taken any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const waiter of this.#waiters) waiter.refuse(new ClosedError('the bucket'));
    this.#ledger.clear();
    publish('closed', { bucket: this });
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #wait(count: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        listening[Symbol.dispose]();
        this.#waiters.delete(waiter);
        if (this.#waiters.size === 0) this.#stopTimer();
      };
      const waiter: Waiter = {
        count,
        granted() {
          // Its turn came by the abort of another that has the same signal, before it was told itself.
          if (signal?.aborted) {
            waiter.refuse(signal.reason);
            return false;
          }
          leave();
          resolve();
          return true;
        },
        refuse(reason) {
          leave();
          reject(reason);
        },
      };
      this.#waiters.add(waiter);
      const place = this.#ledger.claim(waiter);
      const listening = onAbort(signal, (reason) => {
        waiter.refuse(reason);
        this.#cancel(place);
      });
      this.#startTimer();
    });
  }

  #cancel(place: Place<Claim>): void {
    this.#ledger.cancel(place, now());
    this.#stopTimer();
    this.#startTimer();
  }

  /** Runs while anybody waits, for the first in the queue, be that a take or a reservation. */
  #startTimer(): void {
    const delayMs = this.#ledger.untilNext(now());
    if (this.#timer || this.#waiters.size === 0 || delayMs === undefined) return;
    this.#timer = after(Math.ceil(delayMs), () => {
      this.#timer = undefined;
      this.#ledger.advance(now());
      this.#startTimer();
    });
  }

  #stopTimer(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError('the bucket');
  }

  #tooLate(count: number, delayMs: number, timeoutMs: number): AcquireTimeoutError {
    const inTime = `${count === 1 ? 'a token' : `${count} tokens`} can be had in ${Math.ceil(delayMs)} ms, not within ${timeoutMs} ms (timeoutMs)`;
    return new AcquireTimeoutError(inTime, { waitedMs: 0, retryAfterMs: delayMs - timeoutMs });
  }
}
