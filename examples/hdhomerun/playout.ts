import { Readable } from 'node:stream';
import type { RecordingLoop } from './recording-loop.ts';

const TICKS_PER_MS = 90;
const INTERVAL_MS = 20;
/** What a client does not take is lost past this, as with a device, which can't wait. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

export class PlayoutStream extends Readable {
  readonly #loop: RecordingLoop;
  readonly #begunMs = performance.now();
  readonly #durationMs: number;
  #isOver = false;

  constructor(loop: RecordingLoop, durationMs: number) {
    super();
    this.#loop = loop;
    this.#durationMs = durationMs;
  }

  override _read(): void {}

  /** Sends what is due by now. */
  send(): void {
    if (this.#isOver) return;
    const elapsedMs = Math.min(performance.now() - this.#begunMs, this.#durationMs);
    const bytes = this.#loop.takeUntil(elapsedMs * TICKS_PER_MS);
    if (bytes.length > 0 && this.readableLength < MAX_WAITING_BYTES) this.push(bytes);
    if (elapsedMs >= this.#durationMs) this.finish();
  }

  /** Ends it as if it were complete. */
  finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.push(null);
  }
}

/** Sends any number of loops in real time by one timer, which runs while there is any. */
export class Playout {
  readonly #streams = new Set<PlayoutStream>();
  #timer: NodeJS.Timeout | undefined;

  /** Its first packets are there at once; destroy it to end it. */
  open(loop: RecordingLoop, durationMs: number = Number.POSITIVE_INFINITY): PlayoutStream {
    const stream = new PlayoutStream(loop, durationMs);
    this.#streams.add(stream);
    stream.once('close', () => this.#forget(stream));
    this.#timer ??= setInterval(() => this.#sendAll(), INTERVAL_MS);
    stream.send();
    return stream;
  }

  #sendAll(): void {
    for (const stream of this.#streams) stream.send();
  }

  #forget(stream: PlayoutStream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
