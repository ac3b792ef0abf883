/**
 * Knows how long a subscriber has been behind, in constant space: it remembers one point of the stream and when that
 * was given, and moves on once the subscriber has passed it. Pure: `now` is given.
 *
 * The age is a lower bound; a subscriber that keeps moving is found late by a factor of two at most.
 */
export class LagClock {
  #given = 0;
  #markBytes = 0;
  #markAt = 0;

  /** All bytes given so far. */
  get given(): number {
    return this.#given;
  }

  /** `bytes` are given now to a subscriber that has not yet taken `lag` bytes of those before. */
  give(bytes: number, lag: number, now: number): void {
    const passed = this.#given - lag >= this.#markBytes;
    this.#given += bytes;
    if (passed) this.#mark(now);
  }

  /** For how many milliseconds at least the oldest of the `lag` bytes not yet taken has waited. */
  age(lag: number, now: number): number {
    if (this.#given - lag >= this.#markBytes) this.#mark(now);
    return now - this.#markAt;
  }

  #mark(now: number): void {
    this.#markBytes = this.#given;
    this.#markAt = now;
  }
}
