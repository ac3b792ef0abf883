/** Slices that follow each other. */
export interface Stretch {
  readonly slices: readonly Buffer[];
  /** In bytes, all together. */
  readonly length: number;
}

export function stretchOf(slice: Buffer): Stretch {
  return { slices: [slice], length: slice.length };
}

/** However short they are: a slice takes memory of its own. */
const MAX_SLICES = 16_384;

/**
 * The newest bytes of one source, for those who come late: from the last join point on, as far as `maxBytes` reach. Where
 * there are no join points, any slice is one. Pure.
 */
export class Preroll {
  readonly #maxBytes: number;
  readonly #hasJoinPoints: boolean;
  #slices: Buffer[] = [];
  #bytes = 0;
  #isFirst = true;
  /** Whether one can join where `#slices` begin. */
  #isJoinable = false;

  constructor(maxBytes: number, hasJoinPoints: boolean) {
    this.#maxBytes = maxBytes;
    this.#hasJoinPoints = hasJoinPoints;
  }

  /** What one who comes now is given at once; `undefined` if it has to wait for the next join point. */
  get joinable(): Stretch | undefined {
    if (!this.#isJoinable || this.#bytes === 0) return undefined;
    return { slices: [...this.#slices], length: this.#bytes };
  }

  /**
   * Takes the next slice, with the offset of its join point if it has one; returns what those who wait for one are given of
   * it. The begin of a source is one too.
   */
  push(slice: Buffer, joinPoint?: number): Stretch | undefined {
    const isBegin = this.#isFirst || !this.#hasJoinPoints;
    if (this.#isFirst) this.#isJoinable = true;
    this.#isFirst = false;
    this.#slices.push(slice);
    this.#bytes += slice.length;
    const joinable = joinPoint === undefined ? undefined : this.#beginAt(slice.length - joinPoint);
    this.#evict();
    return isBegin ? stretchOf(slice) : joinable;
  }

  /** So many of the newest bytes, or all that there are, begin with a join point: none before it is kept. */
  #beginAt(bytes: number): Stretch | undefined {
    let [first] = this.#slices;
    while (first && this.#bytes - first.length >= bytes) first = this.#dropFirst();
    if (first && bytes < this.#bytes) {
      this.#slices[0] = first.subarray(this.#bytes - bytes);
      this.#bytes = bytes;
    }
    this.#isJoinable = true;
    return this.joinable;
  }

  #evict(): void {
    while (this.#bytes > this.#maxBytes || this.#slices.length > MAX_SLICES) {
      this.#dropFirst();
      // With join points none is left at the begin; without them every slice is one.
      this.#isJoinable = !this.#hasJoinPoints;
    }
  }

  /** Returns the one that is first then. */
  #dropFirst(): Buffer | undefined {
    this.#bytes -= this.#slices.shift()?.length ?? 0;
    return this.#slices[0];
  }
}
