import { shielded } from './shielded.ts';

/** What there is to dispose of where nothing was begun. */
export const NOTHING: Disposable = { [Symbol.dispose]() {} };

/**
 * Calls back when `signal` aborts; in the next microtask if it has, so that whoever calls has what is returned by then.
 * Dispose to stop listening.
 */
export function onAbort(signal: AbortSignal | undefined, callback: (reason: unknown) => void): Disposable {
  if (!signal) return NOTHING;
  if (signal.aborted) return soon(() => callback(signal.reason));
  return (LISTENERS.get(signal) ?? new Listeners(signal)).add(callback);
}

function soon(callback: () => void): Disposable {
  let isWanted = true;
  queueMicrotask(() => {
    if (isWanted) callback();
  });
  return {
    [Symbol.dispose]() {
      isWanted = false;
    },
  };
}

const LISTENERS = new WeakMap<AbortSignal, Listeners>();

/**
 * All who listen to one signal, by one listener: an `EventTarget` looks through the whole list for each that is added or
 * removed, and a thousand waits may have one signal.
 */
class Listeners {
  readonly #signal: AbortSignal;
  readonly #callbacks = new Set<{ readonly callback: (reason: unknown) => void }>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    LISTENERS.set(signal, this);
    signal.addEventListener('abort', this.#tell, { once: true });
  }

  add(callback: (reason: unknown) => void): Disposable {
    const entry = { callback };
    this.#callbacks.add(entry);
    return {
      [Symbol.dispose]: () => {
        if (this.#callbacks.delete(entry) && this.#callbacks.size === 0) this.#stop();
      },
    };
  }

  /** Node keeps a signal that has a listener. */
  #stop(): void {
    LISTENERS.delete(this.#signal);
    this.#signal.removeEventListener('abort', this.#tell);
  }

  readonly #tell = (): void => {
    for (const entry of this.#callbacks) {
      this.#callbacks.delete(entry);
      shielded(() => entry.callback(this.#signal.reason));
    }
  };
}

/** Settles as `promise` does, or rejects with `signal.reason` as soon as it aborts. `promise` goes on by itself. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise<T>((resolve, reject) => {
    const listening = onAbort(signal, reject);
    promise.then(resolve, reject).finally(() => listening[Symbol.dispose]());
  });
}

/** A promise that no one has to catch: its rejection is reported elsewhere as well. */
export function preHandled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** An `AbortController` whose signal is made when somebody asks for it, which costs more than all else about it. */
export class LazyAbort {
  #listeners: Set<(reason: unknown) => void> | undefined;
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;

  get isAborted(): boolean {
    return this.#aborted !== undefined;
  }

  /** Undefined until it is aborted. */
  get reason(): unknown {
    return this.#aborted?.reason;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    return this.#controller.signal;
  }

  /** The first reason counts. */
  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = { reason };
    this.#controller?.abort(reason);
    for (const listener of this.#listeners ?? []) shielded(() => listener(reason));
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#aborted.reason;
  }

  /** As `onAbort` does with a signal. */
  onAbort(callback: (reason: unknown) => void): Disposable {
    const aborted = this.#aborted;
    if (aborted) return soon(() => callback(aborted.reason));
    this.#listeners ??= new Set();
    this.#listeners.add(callback);
    return { [Symbol.dispose]: () => this.#listeners?.delete(callback) };
  }
}
