import { LazyAbort } from '../internal/abort.ts';
import { show } from '../internal/options.ts';
import { after } from '../internal/time.ts';
import type { PooledChild } from './lease.ts';

/** What starts a process gets. */
export interface SpawnContext {
  /** Aborts when this attempt has failed or is not wanted any more, and when the pool is closed. */
  readonly signal: AbortSignal;
  /** From 1. */
  readonly attempt: number;
}

export type Spawn<C extends PooledChild> = (context: SpawnContext) => Promise<C>;

/** One call of `spawn`. */
export interface StartPlan<C extends PooledChild> {
  readonly spawn: Spawn<C>;
  readonly attempt: number;
  readonly timeoutMs: number;
  tooLate(): Error;
  /** Aborts when nobody wants it any more. */
  readonly givenUp: LazyAbort;
  /** Called when it is given up; `came` is called later, or never. */
  givenUpOn(): void;
  /**
   * Called exactly once, with what came of the call, whenever that is: before the start resolves, or after it was given
   * up. `child` is undefined if there is none.
   */
  came(child: C | undefined, isLate: boolean): void;
}

export interface Started<C extends PooledChild> {
  readonly child: C;
  /** Aborts what was started with it. */
  readonly started: LazyAbort;
}

/** Rejects as soon as it failed, took too long or is not wanted any more. */
export function start<C extends PooledChild>(plan: StartPlan<C>): Promise<Started<C>> {
  const started = new LazyAbort();
  return new Promise((resolve, reject) => {
    let isLate = false;
    const stop = () => {
      timer[Symbol.dispose]();
      leaving[Symbol.dispose]();
    };
    const giveUp = (reason: unknown) => {
      isLate = true;
      stop();
      plan.givenUpOn();
      started.abort(reason);
      reject(reason);
    };
    const timer = after(plan.timeoutMs, () => giveUp(plan.tooLate()));
    const leaving = plan.givenUp.onAbort(giveUp);
    call(plan.spawn, contextOf(started, plan.attempt)).then(
      (child) => {
        stop();
        plan.came(child, isLate);
        resolve({ child, started });
      },
      (error) => {
        stop();
        started.abort(error);
        plan.came(undefined, isLate);
        reject(error);
      },
    );
  });
}

/** Its signal is made for those who take it. */
function contextOf(started: LazyAbort, attempt: number): SpawnContext {
  return {
    attempt,
    get signal() {
      return started.signal;
    },
  };
}

async function call<C extends PooledChild>(spawn: Spawn<C>, context: SpawnContext): Promise<C> {
  const child = await spawn(context);
  if (typeof child?.closed?.then === 'function' && typeof child[Symbol.asyncDispose] === 'function') return child;
  throw new TypeError(
    `spawn must resolve with a child that has closed and [Symbol.asyncDispose], received ${show(child)}`,
  );
}
