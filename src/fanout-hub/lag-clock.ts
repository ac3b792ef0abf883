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
  /** When it was looked at last, how much had been taken until then, and how long nothing more of it. */
  #lookedAt = 0;
  #taken = 0;
  #idleMs = 0;

  /** All bytes given so far. */
  get given(): number {
    return this.#given;
  }

  /** `bytes` are given now to a subscriber that has not yet taken `lag` bytes of those before. */
  give(bytes: number, lag: number, now: number): void {
    this.#look(lag, now);
    const passed = this.#given - lag >= this.#markBytes;
    this.#given += bytes;
    if (passed) this.#mark(now);
  }

  /** Of the bytes not yet taken the last `bytes` will not be. */
  retract(bytes: number): void {
    this.#given -= bytes;
    this.#markBytes = Math.min(this.#markBytes, this.#given);
  }

  /** For how many milliseconds at least the oldest of the `lag` bytes not yet taken has waited. */
  age(lag: number, now: number): number {
    if (this.#given - lag >= this.#markBytes) this.#mark(now);
    return now - this.#markAt;
  }

  /** For how many milliseconds it has taken nothing while there was something to take, whatever was retracted meanwhile. */
  idle(lag: number, now: number): number {
    this.#look(lag, now);
    return this.#idleMs;
  }

  #mark(now: number): void {
    this.#markBytes = this.#given;
    this.#markAt = now;
  }

  #look(lag: number, now: number): void {
    const taken = this.#given - lag;
    if (taken > this.#taken) this.#idleMs = 0;
    else if (lag > 0) this.#idleMs += now - this.#lookedAt;
    this.#taken = taken;
    this.#lookedAt = now;
  }
}
