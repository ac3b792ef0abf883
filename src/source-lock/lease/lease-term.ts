import { createEmitter } from '../../internal/events.ts';
import type { Lease } from '../../internal/hold.ts';
import { after, now } from '../../internal/time.ts';

/** A holder that was silent for so long may be followed, by the clock of who waits. */
export const STALE_MS = 10_000;
/** What is left between the end of a lease and the first who may follow, for what uses the lock to end. */
const GUARD_MS = 1_000;
/** How long a lease lasts. */
const TERM_MS: number = STALE_MS - GUARD_MS;

/**
 * The lease of one tenure, by its holder's own clock. It is counted from when a renewal was sent: whoever sees the renewal
 * sees it later, and so waits longer than the lease lasts.
 */
export class LeaseTerm implements Lease {
  readonly #lost = new AbortController();
  readonly #lossOf: (why: string) => Error;
  readonly #events = createEmitter<{ renew: (deadline: number) => void }>();
  #deadline: number;
  #expiry: Disposable;
  #isReleased = false;

  /** @param sentMs when it was asked for, or before */
  constructor(sentMs: number, lossOf: (why: string) => Error) {
    this.#lossOf = lossOf;
    this.#events.setMaxListeners(0); // one for each child
    this.#deadline = sentMs + TERM_MS;
    this.#expiry = this.#expire();
  }

  get deadline(): number {
    return this.#deadline;
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  onRenew(listener: (deadline: number) => void): Disposable {
    this.#events.on('renew', listener);
    return { [Symbol.dispose]: () => this.#events.off('renew', listener) };
  }

  /** Lost or released; lost too if only now it turns out that the deadline has passed: the timer may be late. */
  isOver(): boolean {
    if (now() >= this.#deadline) this.lose(`it was not renewed in ${TERM_MS} ms, this process or the file system hung`);
    return this.#isReleased || this.signal.aborted;
  }

  throwIfLost(): void {
    this.isOver();
    this.signal.throwIfAborted();
  }

  /** What was sent in time and answered too late renews nothing. */
  renew(sentMs: number): void {
    if (this.isOver()) return;
    this.#deadline = sentMs + TERM_MS;
    this.#expiry[Symbol.dispose]();
    this.#expiry = this.#expire();
    this.#events.emit('renew', this.#deadline);
  }

  /** The first reason counts, and none after the release. */
  lose(why: string): void {
    if (this.#isReleased || this.signal.aborted) return;
    this.#expiry[Symbol.dispose]();
    this.#lost.abort(this.#lossOf(why));
  }

  release(): void {
    this.#isReleased = true;
    this.#expiry[Symbol.dispose]();
  }

  #expire(): Disposable {
    return after(this.#deadline - now(), () => this.isOver(), { idle: true });
  }
}
