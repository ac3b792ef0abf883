import type { LazyAbort } from '../internal/abort.ts';
import { now } from '../internal/time.ts';
import type { ManagedChild } from '../managed-child/managed-child.ts';

/** What a pool can hold: a `ManagedChild`, or what ends and tells of its end in the same way. */
export interface PooledChild extends AsyncDisposable {
  /** Resolves when nothing of it is left; must not reject. */
  readonly closed: Promise<{ readonly reason: string }>;
}

/** The right to a child of the pool, until it is released or ends by itself. */
export interface ProcessLease<C extends PooledChild = ManagedChild> extends AsyncDisposable {
  readonly child: C;
  readonly key?: string;
  /** Milliseconds from the call of `acquire` until it was there; of the first, if others of its key have joined that. */
  readonly waitedMs: number;
  /** How often a process was started for it. */
  readonly attempts: number;
  /** Milliseconds since it was there. */
  readonly heldMs: number;
  /** Where it was acquired; with `leakAfterMs` alone. */
  readonly stack?: string;
  /**
   * Ends the child and resolves with its end when its slot is free. A second call does the same.
   *
   * @throws TreeSurvivedError if something of it can't be ended; it stays counted, and a later call tries again
   */
  release(): Promise<Awaited<C['closed']>>;
}

interface Acquired<C> {
  readonly child: C;
  readonly key: string | undefined;
  readonly waitedMs: number;
  readonly attempts: number;
  readonly stack: string | undefined;
  /** Aborts what was started with it. */
  readonly started: LazyAbort;
  /** Called when the child can't be ended. */
  readonly stuck: (error: unknown) => void;
}

export class Lease<C extends PooledChild> implements ProcessLease<C> {
  readonly child: C;
  declare readonly key?: string;
  readonly waitedMs: number;
  readonly attempts: number;
  declare readonly stack?: string;
  readonly #since = now();
  readonly #started: LazyAbort;
  readonly #stuck: (error: unknown) => void;
  #releasing: Promise<Awaited<C['closed']>> | undefined;

  constructor({ child, key, waitedMs, attempts, stack, started, stuck }: Acquired<C>) {
    this.child = child;
    this.waitedMs = waitedMs;
    this.attempts = attempts;
    this.#started = started;
    this.#stuck = stuck;
    if (key !== undefined) this.key = key;
    if (stack !== undefined) this.stack = stack;
  }

  get heldMs(): number {
    return now() - this.#since;
  }

  release(): Promise<Awaited<C['closed']>> {
    this.#releasing ??= this.#end();
    return this.#releasing;
  }

  async #end(): Promise<Awaited<C['closed']>> {
    try {
      await this.child[Symbol.asyncDispose]();
      return (await this.child.closed) as Awaited<C['closed']>;
    } catch (error) {
      this.#releasing = undefined;
      this.#stuck(error);
      throw error;
    }
  }

  /** Tells the child by the signal that it was started with, and ends it. */
  abort(reason: unknown): Promise<unknown> {
    this.#started.abort(reason);
    return this.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** The stack of who called a function. */
export function stackOf(callee: (...args: never[]) => unknown): string | undefined {
  const place: { stack?: string } = {};
  Error.captureStackTrace(place, callee);
  return place.stack?.split('\n').slice(1).join('\n');
}
