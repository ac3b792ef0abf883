/** A slice this large goes out at once: larger ones save no more system calls. */
export const SLICE_BYTES = 65_536;

/** The longest that the adaptive slice time holds a byte back. */
const MAX_SLICE_MS = 40;

/**
 * How long bytes are collected for this many subscribers. A write costs the same however small it is, so the more
 * subscribers the more is saved by a longer slice; one viewer gains nothing and wants its bytes soon.
 */
export function adaptiveSliceMs(subscribers: number): number {
  return Math.min(MAX_SLICE_MS, 4 + subscribers / 2);
}

/**
 * Collects chunks into slices. Pure: it knows no clock, `now` is given.
 *
 * Every slice of `take` is a multiple of `align` bytes, counted from the first byte that was pushed; what is left over
 * opens the next slice. A single chunk goes through without a copy.
 */
export class Slicer {
  readonly #align: number;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** When the first of the bytes was read that make up a whole unit now. */
  #since = 0;
  /** When the last slice was taken: what is read right after it may have come since. */
  #takenAt = Number.NEGATIVE_INFINITY;

  constructor(align: number) {
    this.#align = align;
  }

  push(chunk: Buffer, now: number): void {
    if (this.#bytes < this.#align) this.#since = now;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** When the next slice is due if bytes may wait `sliceMs`; `Infinity` while there is no whole unit. */
  dueAt(sliceMs: number): number {
    if (this.#bytes < this.#align) return Number.POSITIVE_INFINITY;
    if (this.#bytes >= SLICE_BYTES) return this.#since;
    // A steady source is cut at a steady pace, however long it takes to read it and to write to everyone.
    const isSteady = this.#since - this.#takenAt < 2 * sliceMs;
    return (isSteady ? this.#takenAt : this.#since) + sliceMs;
  }

  /** All whole units, possibly none. */
  take(now: number): Buffer {
    const all = this.flush();
    this.#takenAt = now;
    const length = all.length - (all.length % this.#align);
    if (length < all.length) this.push(all.subarray(length), this.#since);
    return all.subarray(0, length);
  }

  /** Everything, whole units or not: for the end of the source. */
  flush(): Buffer {
    const [only] = this.#chunks;
    const all = only && this.#chunks.length === 1 ? only : Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [];
    this.#bytes = 0;
    return all;
  }
}
