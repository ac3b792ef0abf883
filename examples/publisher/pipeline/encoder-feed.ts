import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { ManagedChild, Subscription } from 'holdfast';
import { EncoderStalledError } from '../errors.ts';

/** Where nothing came for longer than this, nothing could be encoded either. */
const PAUSE_MS = 1_000;

/** What a channel gives, as the stdin of an encoder. */
export class EncoderFeed implements AsyncDisposable {
  readonly #subscription: Subscription & AsyncIterable<Buffer>;
  readonly #name: string;
  readonly #stallTimeoutMs: number;
  #isOver = false;

  constructor(subscription: Subscription & AsyncIterable<Buffer>, name: string, stallTimeoutMs: number) {
    this.#subscription = subscription;
    this.#name = name;
    this.#stallTimeoutMs = stallTimeoutMs;
  }

  /** Whether the channel is over, and the encoder ends for that. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves when the channel gives something; rejects with what it failed with. */
  get live(): Promise<void> {
    return this.#subscription.live;
  }

  /** Once. What breaks it breaks the encoder's stdout, whose reader is told. */
  start(child: ManagedChild): void {
    // That nobody reads is told by the child's end.
    child.stdin?.on('error', () => {});
    this.#run(child).catch((error: Error) => child.stdout?.destroy(error));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#subscription[Symbol.asyncDispose]();
  }

  async #run(child: ManagedChild): Promise<void> {
    const progress = new Progress(child.stdout as Socket, this.#stallTimeoutMs);
    try {
      for await (const slice of this.#subscription) {
        if (progress.isStalled) throw new EncoderStalledError(this.#name, this.#stallTimeoutMs, child.stderrTail());
        await write(child, slice);
      }
    } catch (error) {
      this.#isOver = !(error instanceof EncoderStalledError);
      throw error;
    }
    this.#isOver = true;
    child.stdin?.end();
  }
}

/** Waits where it is full, as long as there is somebody to empty it. */
async function write({ stdin, exited }: ManagedChild, slice: Buffer): Promise<void> {
  if (!stdin?.writable || stdin.write(slice)) return;
  const gone = new AbortController();
  const drained = once(stdin, 'drain', { signal: gone.signal }).catch(() => {});
  await Promise.race([drained, exited]);
  gone.abort();
}

/** Whether an encoder gives something for what it is given. */
class Progress {
  readonly #stdout: Socket;
  readonly #timeoutMs: number;
  #bytes = 0;
  #since: number;
  #lookedAt: number;

  constructor(stdout: Socket, timeoutMs: number) {
    this.#stdout = stdout;
    this.#timeoutMs = timeoutMs;
    this.#since = this.#lookedAt = performance.now();
  }

  /** To be asked whenever it is given something. */
  get isStalled(): boolean {
    const at = performance.now();
    const hasPaused = at - this.#lookedAt > PAUSE_MS;
    this.#lookedAt = at;
    if (hasPaused || this.#stdout.bytesRead !== this.#bytes) this.#since = at;
    this.#bytes = this.#stdout.bytesRead;
    return at - this.#since > this.#timeoutMs;
  }
}
