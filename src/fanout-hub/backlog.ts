/** Slices that wait to be taken, the oldest first. */
export class Backlog {
  readonly #slices: Buffer[] = [];
  #bytes = 0;

  /** How many slices. */
  get length(): number {
    return this.#slices.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(slice: Buffer): void {
    this.#slices.push(slice);
    this.#bytes += slice.length;
  }

  shift(): Buffer | undefined {
    const slice = this.#slices.shift();
    this.#bytes -= slice?.length ?? 0;
    return slice;
  }

  /** Tells how many bytes it had. */
  clear(): number {
    const bytes = this.#bytes;
    this.#slices.length = 0;
    this.#bytes = 0;
    return bytes;
  }
}
