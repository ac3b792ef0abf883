import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { after, now } from '../internal/time.ts';

/** A chunk this large may not have been all that had come. */
const READ_BYTES = 65_536;
/** Sources that write this much at a time are read as it comes: there is little to save. */
const SMALL_BYTES = 8_192;
/** What a source may write from one turn to the next: well within what the kernel takes before a writer has to wait. */
const TURN_BYTES = 57_344;
const TURN_WRITES = 64;
const MIN_TURN_MS = 2;
/** How many chunks are looked at to see what a source writes, and for how many turns that is believed. */
const LOOK_CHUNKS = 64;
const MAX_TURNS = 500;

/**
 * Reads what a source writes in small pieces in turns: all that has come since the last one. A turn costs as much as a
 * piece, whatever it brings, and many pieces come in one. It takes the output of a child that keeps nothing itself (a
 * high-water mark of 1), so that what waits is in the kernel; any other is read as it comes. So is one whose pieces are
 * large or rare, and everything where the kernel keeps less than on Linux.
 */
export class Turns implements Disposable {
  readonly #stream: Readable;
  readonly #canWait: boolean;
  #timer: Disposable | undefined;
  /** Since `#begunAt`, of the present look or turn. */
  #chunks = 0;
  #bytes = 0;
  #begunAt = now();
  /** Of the last look: the mean of its chunks. */
  #pieceBytes = 0;
  /** Until the next look; none while it looks. */
  #turnsLeft = 0;
  #turnMs = 0;
  /** Whether the next chunk was read before the turn began: the stream stops only after one more than was wanted. */
  #isStale = false;

  constructor(stream: Readable) {
    this.#stream = stream;
    this.#canWait = process.platform === 'linux' && stream instanceof Socket && stream.readableHighWaterMark <= 1;
  }

  /** From one turn to the next; 0 while everything is read as it comes. */
  get ms(): number {
    return this.#turnMs;
  }

  /** A chunk was read. Bytes may wait for `patienceMs`. */
  took(bytes: number, patienceMs: number): void {
    if (!this.#canWait) return;
    this.#chunks++;
    this.#bytes += bytes;
    if (this.#turnsLeft === 0) this.#look(patienceMs);
    else if (bytes < READ_BYTES && !this.#isStale) this.#turn(patienceMs);
    this.#isStale = false;
  }

  /** From now on it is read as it comes. */
  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    if (this.#timer) this.#stream.resume();
  }

  /** Reads as it comes until it is known what comes. */
  #look(patienceMs: number): void {
    this.#turnMs = 0;
    if (this.#chunks < LOOK_CHUNKS) return;
    this.#pieceBytes = this.#bytes / this.#chunks;
    const everyMs = (now() - this.#begunAt) / this.#chunks;
    if (this.#pieceBytes < SMALL_BYTES && everyMs * 2 < patienceMs) this.#turnsLeft = MAX_TURNS;
    this.#turn(patienceMs);
  }

  /** The last turn is over: waits for the next, or looks again. */
  #turn(patienceMs: number): void {
    const at = now();
    this.#turnMs = this.#turnsLeft > 0 ? this.#turnMsFor(patienceMs, this.#bytes / Math.max(1, at - this.#begunAt)) : 0;
    this.#chunks = 0;
    this.#bytes = 0;
    this.#begunAt = at;
    if (this.#turnMs === 0) return;
    this.#turnsLeft--;
    this.#stream.pause();
    this.#timer?.[Symbol.dispose]();
    this.#timer = after(this.#turnMs, () => {
      this.#timer = undefined;
      this.#isStale = this.#stream.readableLength > 0;
      this.#stream.resume();
    });
  }

  /** Such that a slice is due at the end of a turn. */
  #turnMsFor(patienceMs: number, bytesPerMs: number): number {
    const most = Math.min(TURN_BYTES, TURN_WRITES * this.#pieceBytes);
    return Math.max(MIN_TURN_MS, patienceMs / Math.ceil((bytesPerMs * patienceMs) / most));
  }
}
