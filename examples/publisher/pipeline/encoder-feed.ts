import type { Socket } from 'node:net';
import type { ManagedChild, Subscription } from 'holdfast';
import { EncoderStalledError, TracksUnsteadyError } from '../errors.ts';
import { feed } from './feed.ts';
import { TrackWatch } from './track-watch.ts';

/** Where nothing came for longer than this, nothing could be encoded either. */
const PAUSE_MS = 1_000;
/** How often one that takes nothing is looked at. */
const LOOK_MS = 250;

export interface EncoderFeedTerms {
  /** Of what is encoded. */
  readonly name: string;
  readonly stallTimeoutMs: number;
  /** The channel goes on with other tracks, and the encoder is given no more. What it throws is a failure of the encoder. */
  readonly onOtherTracks: () => void;
}

/** What a channel gives, as the stdin of an encoder. */
export class EncoderFeed implements AsyncDisposable {
  readonly #subscription: Subscription & AsyncIterable<Buffer>;
  readonly #terms: EncoderFeedTerms;
  #isOver = false;
  #fedAt = Number.NEGATIVE_INFINITY;
  /** Whether it waits for the encoder. */
  #isFull = false;

  constructor(subscription: Subscription & AsyncIterable<Buffer>, terms: EncoderFeedTerms) {
    this.#subscription = subscription;
    this.#terms = terms;
  }

  /** Whether there is no more for the encoder, which ends for that. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether the channel gives nothing, so that an encoder can't either. */
  get isStarved(): boolean {
    return this.#isOver || (!this.#isFull && performance.now() - this.#fedAt > PAUSE_MS);
  }

  /** Resolves when the channel gives something; rejects with what it failed with. */
  get live(): Promise<void> {
    return this.#subscription.live;
  }

  /** Once. What breaks it breaks the encoder's stdout, whose reader is told; rejects with it, and never resolves. */
  start(child: ManagedChild): Promise<never> {
    // That nobody reads is told by the child's end.
    child.stdin?.on('error', () => {});
    return new Promise((_, reject) => {
      this.#run(child).catch((error: Error) => {
        child.stdout?.destroy(error);
        reject(error);
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#subscription[Symbol.asyncDispose]();
  }

  async #run(child: ManagedChild): Promise<void> {
    try {
      await this.#feed(child);
      this.#isOver = true;
    } catch (error) {
      this.#isOver = !isOfEncoder(error);
      throw error;
    }
    child.stdin?.end();
  }

  async #feed(child: ManagedChild): Promise<void> {
    const { stallTimeoutMs, onOtherTracks } = this.#terms;
    const progress = new Progress(child.stdout as Socket, stallTimeoutMs);
    const tracks = new TrackWatch();
    for await (const slice of this.#subscription) {
      if (tracks.hasChanged(slice)) return onOtherTracks();
      if (progress.isStalled) throw this.#stalled(child);
      this.#isFull = true;
      await this.#give(child, slice, progress);
      this.#isFull = false;
      this.#fedAt = performance.now();
    }
  }

  /** One that takes nothing is looked at while it is waited for. */
  async #give(child: ManagedChild, slice: Buffer, progress: Progress): Promise<void> {
    const { promise: stalled, reject } = Promise.withResolvers<never>();
    const timer = setInterval(() => progress.isStalled && reject(this.#stalled(child)), LOOK_MS);
    try {
      await Promise.race([feed(child, slice), stalled]);
    } finally {
      clearInterval(timer);
    }
  }

  #stalled(child: ManagedChild): EncoderStalledError {
    const { name, stallTimeoutMs } = this.#terms;
    return new EncoderStalledError(name, stallTimeoutMs, child.stderrTail());
  }
}

/** What else it fails with is of the channel. */
function isOfEncoder(error: unknown): boolean {
  return error instanceof EncoderStalledError || error instanceof TracksUnsteadyError;
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

  /** To be asked whenever it is given something, and while it is. */
  get isStalled(): boolean {
    const at = performance.now();
    const hasPaused = at - this.#lookedAt > PAUSE_MS;
    this.#lookedAt = at;
    if (hasPaused || this.#stdout.bytesRead !== this.#bytes) this.#since = at;
    this.#bytes = this.#stdout.bytesRead;
    return at - this.#since > this.#timeoutMs;
  }
}
