/** How many calls ended how. */
export interface Counts {
  readonly calls: number;
  readonly failures: number;
  readonly slow: number;
}

/** The window forgets in steps of this part of it. */
const STEPS = 60;

/**
 * Counts over a sliding window, in buckets of a 60th of it: what is older than the window is forgotten at most that much
 * later. Its size does not depend on how much happens.
 */
export class OutcomeWindow {
  readonly #bucketMs: number;
  /** The oldest first. */
  readonly #buckets: Bucket[] = [];
  /** Of all buckets. */
  readonly #total: Bucket = new Bucket(0);

  constructor(windowMs: number) {
    this.#bucketMs = windowMs / STEPS;
  }

  /** @param at when it happened, if that was before now */
  add(counts: Counts, now: number, at: number = now): void {
    this.#forget(now);
    if (!this.remembers(at, now)) return;
    const bucket = this.#bucketOf(at);
    bucket.latest = Math.max(bucket.latest, at);
    bucket.add(counts, 1);
    this.#total.add(counts, 1);
  }

  /** Whether what happened then still counts. */
  remembers(at: number, now: number): boolean {
    return this.#numberOf(at) >= this.#numberOf(now) - STEPS;
  }

  #numberOf(instant: number): number {
    return Math.floor(instant / this.#bucketMs);
  }

  #bucketOf(at: number): Bucket {
    const number = this.#numberOf(at);
    let index = this.#buckets.length;
    while (index > 0 && (this.#buckets[index - 1] as Bucket).number > number) index--;
    const found = this.#buckets[index - 1];
    if (found?.number === number) return found;
    const bucket = new Bucket(number);
    this.#buckets.splice(index, 0, bucket);
    return bucket;
  }

  counts(now: number): Counts {
    this.#forget(now);
    return this.#total;
  }

  /** What happened how long ago, to be added to another window. */
  *ages(now: number): Generator<readonly [ageMs: number, counts: Counts]> {
    this.#forget(now);
    for (const { latest, calls, failures, slow } of this.#buckets) {
      yield [now - latest, { calls, failures, slow }];
    }
  }

  #forget(now: number): void {
    const first = this.#numberOf(now) - STEPS;
    for (let oldest = this.#buckets[0]; oldest && oldest.number < first; oldest = this.#buckets[0]) {
      this.#total.add(oldest, -1);
      this.#buckets.shift();
    }
  }
}

class Bucket implements Counts {
  readonly number: number;
  /** When it was last added to: a window that is restored in another process has other buckets. */
  latest = Number.NEGATIVE_INFINITY;
  calls = 0;
  failures = 0;
  slow = 0;

  constructor(number: number) {
    this.number = number;
  }

  add({ calls, failures, slow }: Counts, sign: 1 | -1): void {
    this.calls += sign * calls;
    this.failures += sign * failures;
    this.slow += sign * slow;
  }
}
