/** Long enough to smooth the bursts of a source, short enough to show a stall. */
const RATE_WINDOW_MS = 4_000;

/** Bits per second from readings of a byte counter; a counter that runs backwards started anew. */
export class Rate {
  #readings = [];

  /** @returns the rate, or undefined until there are two readings */
  add(atMs, bytes) {
    const last = this.#readings.at(-1);
    if (last && bytes < last.bytes) this.#readings = [];
    if (last && atMs <= last.atMs) return this.#value();
    this.#readings.push({ atMs, bytes });
    while (this.#readings.length > 2 && atMs - this.#readings[0].atMs > RATE_WINDOW_MS) this.#readings.shift();
    return this.#value();
  }

  #value() {
    const [first, last] = [this.#readings[0], this.#readings.at(-1)];
    if (!first || first === last) return undefined;
    return ((last.bytes - first.bytes) * 8_000) / (last.atMs - first.atMs);
  }
}
