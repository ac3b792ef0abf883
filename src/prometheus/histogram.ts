import type { Sample } from './metric.ts';

/** Counts of values by upper bounds, as Prometheus has them. */
export class Histogram {
  readonly #bounds: readonly number[];
  /** How many were at most the bound of the same index, and more than the one before. */
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** @param bounds in ascending order */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    const index = this.#bounds.findIndex((bound) => value <= bound);
    if (index !== -1) this.#counts[index] = (this.#counts[index] as number) + 1;
    this.#sum += value;
    this.#count++;
  }

  samples(): Sample[] {
    let upTo = 0;
    const buckets = this.#bounds.map((bound, index): Sample => {
      upTo += this.#counts[index] as number;
      return { suffix: '_bucket', labels: { le: String(bound) }, value: upTo };
    });
    return [
      ...buckets,
      { suffix: '_bucket', labels: { le: '+Inf' }, value: this.#count },
      { suffix: '_sum', labels: {}, value: this.#sum },
      { suffix: '_count', labels: {}, value: this.#count },
    ];
  }
}
