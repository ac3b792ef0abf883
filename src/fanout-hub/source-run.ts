import { finished, type Readable } from 'node:stream';
import { ClosedError, SourceEndedError, SourceStalledError, SourceStartTimeoutError } from '../errors.ts';
import { after, now } from '../internal/time.ts';
import type { FanoutSourceContext, HubSettings, SourceHandle } from './options.ts';
import { destroyed, failureOf, handleOf, stdoutOf } from './source-handle.ts';
import { Turns } from './turns.ts';

/** How long the exit of a child is waited for after its stdout ended: it tells a clean end from a failure. */
const EXIT_WAIT_MS = 2_000;

/** What a run tells its hub; nothing after `stop`. */
export interface RunListener {
  /**
   * Returns for how many milliseconds bytes may wait.
   * @param turnMs from one chunk to the next, if it is read in turns, else 0
   */
  data(chunk: Buffer, turnMs: number): number;
  /** The source is over by itself, with or without an error. The run still holds its resources until `stop`. */
  over(error: unknown): void;
  /** Something could not be disposed. */
  disposeFailed(error: unknown): void;
}

/** One opening of the source, from the call of `source` until everything that it opened is gone. */
export class SourceRun {
  readonly #settings: HubSettings;
  readonly #listener: RunListener;
  readonly #controller = new AbortController();
  readonly #gone = Promise.withResolvers<void>();
  /** With the error of the stream, if it had one. */
  readonly #flowed = Promise.withResolvers<unknown>();
  readonly #used: (AsyncDisposable | Disposable)[] = [];
  /** Resolves when the source is over; until then `#used` and `#handle` may still be filled. */
  #reading: Promise<void> = Promise.resolve();
  #handle: SourceHandle | undefined;
  #phase: 'running' | 'over' | 'stopping' | 'disposing' = 'running';
  #turns: Turns | undefined;
  #watch: Disposable | undefined;
  #lastByteAt: number | undefined;

  constructor(settings: HubSettings, listener: RunListener) {
    this.#settings = settings;
    this.#listener = listener;
  }

  start(): void {
    if (this.#phase !== 'running') return;
    const { name, startTimeoutMs } = this.#settings;
    this.#watch = after(startTimeoutMs, () => this.fail(new SourceStartTimeoutError(name, startTimeoutMs)));
    const reading = Promise.withResolvers<void>();
    // Set before `source` is called, as that may stop this very run.
    this.#reading = reading.promise;
    this.#read()
      .then(
        (error) => this.fail(error),
        (error) => this.fail(error ?? new SourceEndedError(name)),
      )
      .finally(reading.resolve);
  }

  /** Aborts the source; resolves when all of it is gone. A source that does not settle after the abort is waited for. */
  stop(reason?: unknown): Promise<void> {
    if (this.#phase === 'running' || this.#phase === 'over') {
      this.#phase = 'stopping';
      this.#unwatch();
      this.#controller.abort(reason);
      this.#tearDown().then(this.#gone.resolve);
    }
    return this.#gone.promise;
  }

  async #read(): Promise<unknown> {
    const context: FanoutSourceContext = { signal: this.#controller.signal, use: (resource) => this.#use(resource) };
    this.#handle = handleOf(await this.#settings.source(context));
    if (this.#phase !== 'running') return undefined;
    const error = await this.#flow(stdoutOf(this.#handle));
    return this.#classify(this.#handle, error);
  }

  #use<T extends AsyncDisposable | Disposable>(resource: T): T {
    if (this.#phase === 'disposing') throw new ClosedError('this opening of the source');
    disposerOf(resource);
    this.#used.push(resource);
    return resource;
  }

  /** Reads flowing, since pausing would stall the writer; resolves to the stream's error once it is over. */
  #flow(stdout: Readable): Promise<unknown> {
    // Its listeners stay, so that an error that comes after the end does not crash the process.
    finished(stdout, { writable: false }, this.#flowed.resolve);
    // It may have been paused, to be looked at first.
    stdout.on('data', (chunk: unknown) => this.#received(chunk)).resume();
    this.#turns = new Turns(stdout);
    return this.#flowed.promise;
  }

  #received(chunk: unknown): void {
    // What a source writes while it ends is read and dropped: it must not hang on a full pipe.
    if (this.#phase !== 'running') return;
    if (!(chunk instanceof Uint8Array)) this.fail(new TypeError(`source gave a ${typeof chunk}, not bytes`));
    else if (chunk.length > 0) this.#bytes(chunk);
  }

  #bytes(chunk: Uint8Array): void {
    const isFirst = this.#lastByteAt === undefined;
    this.#lastByteAt = now();
    if (isFirst) this.#watchForStall(this.#settings.stallTimeoutMs);
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const patienceMs = this.#listener.data(bytes, this.#turns?.ms ?? 0);
    // A source that is not read must not look like one that stalls.
    const longestMs = this.#settings.stallTimeoutMs / 4;
    if (this.#phase === 'running') this.#turns?.took(chunk.length, Math.min(patienceMs, longestMs));
  }

  /** One timer for many chunks: it looks when the last one came and sleeps for the rest. */
  #watchForStall(ms: number): void {
    const { name, stallTimeoutMs } = this.#settings;
    this.#watch?.[Symbol.dispose]();
    this.#watch = after(ms, () => {
      const restMs = (this.#lastByteAt ?? 0) + stallTimeoutMs - now();
      if (restMs > 0) this.#watchForStall(restMs);
      else this.fail(new SourceStalledError(name, stallTimeoutMs));
    });
  }

  /** A child's exit says more than its pipe does, so it goes first. */
  async #classify(handle: SourceHandle, streamError: unknown): Promise<unknown> {
    this.#unwatch();
    const exit = (await within(EXIT_WAIT_MS, handle.closed)) ?? (await within(0, handle.exited));
    const hasBytes = this.#lastByteAt !== undefined;
    const failure = failureOf(this.#settings.name, handle, exit, hasBytes) ?? streamError;
    return failure ?? (hasBytes ? undefined : new SourceEndedError(this.#settings.name));
  }

  /** It is over, with an error or without. */
  fail(error: unknown): void {
    if (this.#phase !== 'running') return;
    this.#phase = 'over';
    this.#unwatch();
    this.#listener.over(error);
  }

  #unwatch(): void {
    this.#watch?.[Symbol.dispose]();
    this.#turns?.[Symbol.dispose]();
  }

  async #tearDown(): Promise<void> {
    const handle = this.#handle;
    if (handle) await this.#close(handle);
    await this.#reading;
    if (!handle && this.#handle) await this.#close(this.#handle);
    this.#phase = 'disposing';
    for (const resource of this.#used.reverse()) await this.#attempt(disposerOf(resource));
  }

  async #close(handle: SourceHandle): Promise<void> {
    await this.#attempt(() => handle[Symbol.asyncDispose]());
    await this.#attempt(() => handle.closed);
    if (handle.stdout) await destroyed(handle.stdout);
    // It may not have said so itself.
    this.#flowed.resolve(undefined);
  }

  async #attempt(step: () => unknown): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#listener.disposeFailed(error);
    }
  }
}

function disposerOf(resource: AsyncDisposable | Disposable): () => unknown {
  const { [Symbol.asyncDispose]: asyncDispose, [Symbol.dispose]: dispose } = resource as Partial<
    AsyncDisposable & Disposable
  >;
  const disposer = asyncDispose ?? dispose;
  if (typeof disposer === 'function') return () => disposer.call(resource);
  throw new TypeError('use() takes a resource with Symbol.asyncDispose or Symbol.dispose');
}

/** The value of `promise`, or `undefined` if it does not come in time. */
function within<T>(ms: number, promise: Promise<T> | undefined): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = after(ms, () => resolve(undefined));
    promise?.then(resolve, reject).finally(() => timer[Symbol.dispose]());
  });
}
