import { GuideError } from './errors.ts';

export interface Limits {
  readonly stallTimeoutMs: number;
  readonly timeoutMs: number;
}

/** Ends a pull that stalls, takes too long, or is no longer wanted. */
export class TimeLimit implements Disposable {
  readonly #controller = new AbortController();
  readonly #closing: AbortSignal;
  readonly #stallTimeoutMs: number;
  readonly #total: NodeJS.Timeout;

  constructor({ stallTimeoutMs, timeoutMs }: Limits, closing: AbortSignal) {
    this.#closing = closing;
    this.#stallTimeoutMs = stallTimeoutMs;
    this.#total = setTimeout(() => this.#end(`it is not complete after ${timeoutMs / 1_000} s`), timeoutMs);
    closing.addEventListener('abort', this.#close, { once: true });
    if (closing.aborted) this.#close();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Only while the source is waited for, it is silent. */
  async race<T>(work: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const give = () => reject(this.signal.reason);
    this.signal.addEventListener('abort', give, { once: true });
    if (this.signal.aborted) give();
    const why = `nothing came for ${this.#stallTimeoutMs / 1_000} s`;
    const stall = setTimeout(() => this.#end(why), this.#stallTimeoutMs);
    try {
      return await Promise.race([work, promise]);
    } finally {
      clearTimeout(stall);
      this.signal.removeEventListener('abort', give);
    }
  }

  async *guard(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const iterator = bytes[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { value, done } = await this.race(Promise.resolve(iterator.next()));
        if (done) break;
        yield value;
      }
      clearTimeout(this.#total);
    } finally {
      // What hangs can't be waited for.
      void Promise.resolve(iterator.return?.()).catch(() => {});
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#total);
    this.#closing.removeEventListener('abort', this.#close);
    this.#controller.abort();
  }

  readonly #close = (): void => this.#controller.abort(this.#closing.reason);

  #end(why: string): void {
    this.#controller.abort(new GuideError(why));
  }
}
