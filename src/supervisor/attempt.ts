import { ServiceAbandonedError } from '../errors.ts';
import { abortable, onAbort, preHandled } from '../internal/abort.ts';
import { show } from '../internal/options.ts';
import { within } from '../internal/time.ts';

/** What an attempt opens: a `ManagedChild`, or what tells of its end in the same way. */
export interface Attempted {
  /** `aborted` and `terminated` are wanted endings, all others are failures. Must not reject. */
  readonly closed: Promise<{ readonly reason: string }>;
}

/** What the function of an attempt gets. */
export interface AttemptContext {
  /** Aborts when the caller of `attempt` does, and when the supervisor is told to stop it. */
  readonly signal: AbortSignal;
  /** From 1; it begins anew after one was healthy. */
  readonly attempt: number;
}

export type OpenFunction<T extends Attempted> = (context: AttemptContext) => Promise<T>;

/** Something that is opened on demand, until it is closed. */
export class Attempt<T extends Attempted> {
  readonly id: string;
  /** Resolves when it has not opened anything, or nothing is left of that. */
  readonly over: Promise<void>;
  readonly #opening: Promise<T>;
  readonly #controller = new AbortController();

  constructor(
    id: string,
    open: (context: Pick<AttemptContext, 'signal'>) => Promise<T>,
    caller: AbortSignal | undefined,
  ) {
    this.id = id;
    const listening = onAbort(caller, (reason) => this.cancel(reason));
    this.#opening = preHandled(call(open, this.signal));
    const closed = this.#opening.then((opened) => opened.closed);
    this.over = closed.then(nothing, nothing).then(() => listening[Symbol.dispose]());
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  cancel(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /** Rejects at once when it is aborted; what is opened all the same is ended. */
  async opened(): Promise<T> {
    try {
      return await abortable(this.#opening, this.signal);
    } catch (error) {
      if (this.signal.aborted) this.#opening.then(dispose).catch(nothing); // nobody is left to be told
      throw error;
    }
  }

  /**
   * Aborts it, and ends what it opened.
   *
   * @throws ServiceAbandonedError if something is left after `timeoutMs`
   */
  async end(reason: unknown, timeoutMs: number): Promise<void> {
    this.cancel(reason);
    const disposed = this.#opening.then(dispose, nothing);
    await within(timeoutMs, Promise.all([disposed, this.over]), () => new ServiceAbandonedError(this.id, timeoutMs));
  }
}

/** Not before who attempts it knows of it, and not at all if it is to end by then. */
async function call<T extends Attempted>(
  open: (context: Pick<AttemptContext, 'signal'>) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  await undefined;
  signal.throwIfAborted();
  const opened = await open({ signal });
  if (typeof opened?.closed?.then === 'function') return opened;
  dispose(opened).catch(nothing);
  throw new TypeError(`open must resolve with what has closed, a promise, received ${show(opened)}`);
}

async function dispose(opened: Partial<Attempted & AsyncDisposable> | undefined): Promise<void> {
  await opened?.[Symbol.asyncDispose]?.();
}

function nothing(): void {}
