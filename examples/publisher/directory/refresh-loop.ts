/** How often something is read anew. */
export interface RefreshTimes {
  readonly everyMs: number;
  /** A read that takes longer has failed; it is told to stop and not waited for. */
  readonly timeoutMs: number;
  /** The first pause after a failure; it doubles with each, up to `everyMs`. */
  readonly backoffMs: number;
}

/** Reads something again and again, on its own clock: a read that hangs delays no other loop and not its own next read. */
export class RefreshLoop implements Disposable {
  readonly #times: RefreshTimes;
  readonly #read: (signal: AbortSignal) => Promise<void>;
  readonly #failed: (error: unknown, retryAfterMs: number) => void;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;

  constructor(
    times: RefreshTimes,
    read: (signal: AbortSignal) => Promise<void>,
    failed: (error: unknown, retryAfterMs: number) => void,
  ) {
    this.#times = times;
    this.#read = read;
    this.#failed = failed;
  }

  /** Reads now, and from then on again and again. Resolves when this first read is over, whichever way. */
  async start(): Promise<void> {
    const nextInMs = await this.#attempt();
    if (this.#closing.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.start(), nextInMs);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  async #attempt(): Promise<number> {
    try {
      await this.#readInTime();
      this.#failures = 0;
      return this.#times.everyMs;
    } catch (error) {
      const { backoffMs, everyMs } = this.#times;
      const retryAfterMs = Math.min(backoffMs * 2 ** this.#failures++, everyMs);
      if (!this.#closing.signal.aborted) this.#failed(error, retryAfterMs);
      return retryAfterMs;
    }
  }

  async #readInTime(): Promise<void> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const reading = new AbortController();
    const give = (reason: unknown) => {
      reading.abort(reason);
      reject(reason);
    };
    const close = () => give(this.#closing.signal.reason);
    const { timeoutMs } = this.#times;
    const timer = setTimeout(() => give(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    this.#closing.signal.addEventListener('abort', close, { once: true });
    try {
      await Promise.race([this.#read(reading.signal), late]);
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', close);
    }
  }
}
