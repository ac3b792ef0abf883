/**
 * Bounds how many restarts there are within a period, over all services. It is full when there were so many; then it is a
 * storm, until at most half as many are left: at its edge each restart would else end one and begin another.
 */
export class StormThrottle {
  readonly #intensity: number;
  readonly #periodMs: number;
  /** The instants of the last ones, as many as make a storm; the oldest first. */
  readonly #restarts: number[] = [];
  #isStorm = false;

  constructor(intensity: number, periodMs: number) {
    this.#intensity = intensity;
    this.#periodMs = periodMs;
  }

  /** In how many milliseconds another may be; 0 for now. */
  untilNext(now: number): number {
    return this.#untilFewerThan(this.#intensity, now);
  }

  /** In how many milliseconds the storm is over, if it is one and there are no more; 0 if it is none. */
  untilCalm(now: number): number {
    if (!this.#isStorm) return 0;
    const leftMs = this.#untilFewerThan(Math.floor(this.#intensity / 2) + 1, now);
    this.#isStorm = leftMs > 0;
    return leftMs;
  }

  /** Returns whether a storm begins with this one. */
  add(now: number): boolean {
    if (this.#intensity === Number.POSITIVE_INFINITY) return false;
    this.untilCalm(now);
    this.#restarts.push(now);
    if (this.#restarts.length > this.#intensity) this.#restarts.shift();
    const begins = !this.#isStorm && this.untilNext(now) > 0;
    this.#isStorm ||= begins;
    return begins;
  }

  #untilFewerThan(count: number, now: number): number {
    const decisive = this.#restarts.at(-count);
    return decisive === undefined ? 0 : Math.max(0, decisive + this.#periodMs - now);
  }
}
