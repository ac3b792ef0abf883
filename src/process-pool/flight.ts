import { AcquireTimeoutError } from '../errors.ts';
import { LazyAbort, onAbort } from '../internal/abort.ts';
import { after, now } from '../internal/time.ts';
import type { PooledChild, ProcessLease } from './lease.ts';
import type { Patience } from './options.ts';

/** What there was not. */
const LACKING = { slot: 'no slot was free', token: 'no token was there (spawnRate)' };

/** One who waits for the lease of a flight. */
interface Caller<C extends PooledChild> {
  grant(lease: ProcessLease<C>): void;
  refuse(reason: unknown): void;
}

export interface FlightPlan {
  readonly key: string | undefined;
  readonly priority: number;
  /** Where it was asked for first. */
  readonly stack: string | undefined;
  /** Called when one more waits for it, or one less. */
  counted(callers: 1 | -1): void;
}

/**
 * One acquire under way, for one caller or for several that ask for the same key. Each may leave before the end; when the
 * last has left, it is aborted.
 */
export class Flight<C extends PooledChild> {
  readonly key: string | undefined;
  readonly priority: number;
  readonly beganAt: number = now();
  /** How often a process was started. */
  attempts = 0;
  /** That no process may be started for it is final. */
  isRefused = false;
  /** What the last attempt came to, if it failed. */
  lastFailure: unknown;
  /** Where it was asked for first. */
  readonly stack: string | undefined;
  /** Aborts when nobody waits for it any more. */
  readonly givenUp: LazyAbort = new LazyAbort();
  readonly #callers = new Set<Caller<C>>();
  readonly #counted: (callers: 1 | -1) => void;
  #isOver = false;
  /** How long it has queued before, and for what since when it does. */
  #queuedMs = 0;
  #queueing: { readonly for: keyof typeof LACKING; readonly since: number } | undefined;

  constructor({ key, priority, stack, counted }: FlightPlan) {
    this.key = key;
    this.priority = priority;
    this.stack = stack;
    this.#counted = counted;
  }

  /** Whether one more may still join: it is neither over nor given up. */
  get isOpen(): boolean {
    return !this.#isOver && !this.givenUp.isAborted;
  }

  /** From now on it waits for that, or for nothing any more. */
  queueFor(what: keyof typeof LACKING | undefined): void {
    this.#queuedMs = this.queuedMs;
    this.#queueing = what && { for: what, since: now() };
  }

  /** For how long it had no slot or no token. */
  get queuedMs(): number {
    return this.#queuedMs + (this.#queueing ? now() - this.#queueing.since : 0);
  }

  join({ timeoutMs, signal }: Patience): Promise<ProcessLease<C>> {
    return new Promise((resolve, reject) => {
      const joinedAt = now();
      const queuedBeforeMs = this.queuedMs;
      const leave = () => {
        timer[Symbol.dispose]();
        listening[Symbol.dispose]();
        if (this.#callers.delete(caller)) this.#counted(-1);
      };
      const caller: Caller<C> = {
        grant(lease) {
          leave();
          resolve(lease);
        },
        refuse: (reason) => {
          leave();
          reject(reason);
          if (this.#callers.size === 0 && !this.#isOver) this.givenUp.abort(reason);
        },
      };
      this.#callers.add(caller);
      this.#counted(1);
      const timer = after(timeoutMs, () => {
        const queuedMs = this.queuedMs - queuedBeforeMs;
        caller.refuse(this.#tooLate(timeoutMs, now() - joinedAt, queuedMs));
      });
      const listening = onAbort(signal, caller.refuse);
    });
  }

  /** Hands the lease to all who wait for it; false if nobody does. */
  resolve(lease: ProcessLease<C>): boolean {
    this.#isOver = true;
    const isAwaited = this.#callers.size > 0;
    for (const caller of this.#callers) caller.grant(lease);
    return isAwaited;
  }

  fail(reason: unknown): void {
    this.#isOver = true;
    for (const caller of this.#callers) caller.refuse(reason);
    this.givenUp.abort(reason);
  }

  #tooLate(timeoutMs: number, waitedMs: number, queuedMs: number): AcquireTimeoutError {
    const { attempts, lastFailure } = this;
    const lacking = LACKING[this.#queueing?.for ?? 'slot'];
    const what =
      attempts === 0
        ? lacking
        : `no process was there after ${attempts === 1 ? 'one attempt' : `${attempts} attempts`}`;
    return new AcquireTimeoutError(`${what} within ${timeoutMs} ms (timeoutMs)`, {
      waitedMs,
      attempts,
      queuedMs,
      cause: lastFailure,
    });
  }
}
