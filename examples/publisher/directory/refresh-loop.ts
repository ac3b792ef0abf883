/** How often something is read anew. */
export interface RefreshTimes {
  readonly everyMs: number;
  /** A read that takes longer has failed; it is told to stop and not waited for. */
  readonly timeoutMs: number;
  /** The first pause after a failure; it doubles with each, up to `everyMs`. */
  readonly backoffMs: number;
}

/** What is read, and who is told. Neither `taken` nor `failed` may throw. */
export interface Refreshed<T> {
  read(signal: AbortSignal): Promise<T>;
  taken(value: T): void;
  failed(error: unknown, retryAfterMs: number): void;
}

/**
 * Reads something again and again, on its own clock: a read that hangs delays no other loop and not its own next read.
 * There is one read at a time, and what it says is older than what the next says.
 */
export class RefreshLoop<T> implements Disposable {
  readonly #times: RefreshTimes;
  readonly #refreshed: Refreshed<T>;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(times: RefreshTimes, refreshed: Refreshed<T>) {
    this.#times = times;
    this.#refreshed = refreshed;
  }

  /**
   * Reads now, and from then on again and again; while a read is under way, once more after it, however often it is asked
   * for. Resolves when that read is over, whichever way.
   */
  start(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.resolve();
    if (!this.#running) {
      this.#running = this.#once();
      return this.#running;
    }
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      return this.start();
    });
    return this.#next;
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  async #once(): Promise<void> {
    clearTimeout(this.#timer);
    const nextInMs = await this.#attempt();
    this.#running = undefined;
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => void this.start(), nextInMs);
    this.#timer.unref();
  }

  async #attempt(): Promise<number> {
    try {
      const value = await this.#readInTime();
      this.#failures = 0;
      if (!this.#closing.signal.aborted) this.#refreshed.taken(value);
      return this.#times.everyMs;
    } catch (error) {
      const { backoffMs, everyMs } = this.#times;
      const retryAfterMs = Math.min(backoffMs * 2 ** this.#failures++, everyMs);
      if (!this.#closing.signal.aborted) this.#refreshed.failed(error, retryAfterMs);
      return retryAfterMs;
    }
  }

  async #readInTime(): Promise<T> {
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
      return await Promise.race([this.#refreshed.read(reading.signal), late]);
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', close);
    }
  }
}
