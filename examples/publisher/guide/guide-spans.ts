import type { Span } from './guide-overlap.ts';

/** What has no end lasts no longer than this, if nothing follows. */
export const LONGEST_MS: number = 12 * 3_600_000;

/**
 * The times of one channel that a document says something about. They are put in order when that is asked for first: those
 * of all channels of a large document at once would keep others waiting.
 */
export class GuideSpans {
  #given: readonly Span[];
  /** In order, and apart from each other. */
  readonly #taken: { readonly startMs: number; stopMs: number }[] = [];

  /** What is added to `spans` later does not count. */
  constructor(spans: readonly Span[]) {
    this.#given = [...spans];
  }

  /** Of what has no end, whether it begins in one. */
  overlaps({ startMs, stopMs = startMs }: Span): boolean {
    this.#order();
    const last = this.#taken[this.#countBefore(Math.max(stopMs, startMs + 1)) - 1];
    return last !== undefined && last.stopMs > startMs;
  }

  #order(): void {
    const sorted = this.#given.toSorted((one, other) => one.startMs - other.startMs);
    this.#given = [];
    for (const [index, { startMs, stopMs }] of sorted.entries()) {
      const nextMs = sorted[index + 1]?.startMs ?? startMs + 1;
      this.#take(startMs, stopMs ?? Math.min(nextMs, startMs + LONGEST_MS));
    }
  }

  #take(startMs: number, stopMs: number): void {
    const last = this.#taken.at(-1);
    const endMs = Math.max(stopMs, startMs + 1);
    if (last && last.stopMs >= startMs) last.stopMs = Math.max(last.stopMs, endMs);
    else this.#taken.push({ startMs, stopMs: endMs });
  }

  /** How many begin before a time. */
  #countBefore(atMs: number): number {
    let [low, high] = [0, this.#taken.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#taken[middle]?.startMs ?? atMs) < atMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
