/**
 * What is used of a registry: `prom-client`'s, or another that takes the same metric objects. `never` accepts a registry
 * whatever type it gives its metrics.
 */
export interface MetricRegistry {
  registerMetric(metric: never): void;
  removeSingleMetric(name: string): void;
}

/** One value of a metric, with its labels. */
export interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** A metric whose values are asked for at each scrape, in the shape that a registry reads. */
export interface ScrapedMetric {
  name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly aggregator: 'sum';
  get(): Promise<{ name: string; help: string; type: string; aggregator: string; values: Sample[] }>;
  reset(): void;
}

export function scraped(type: ScrapedMetric['type'], name: string, help: string, read: () => Sample[]): ScrapedMetric {
  return {
    name,
    help,
    type,
    aggregator: 'sum',
    get() {
      return Promise.resolve({ name: this.name, help, type, aggregator: 'sum', values: read() });
    },
    reset() {},
  };
}

/** A counter per label value; without labels it starts at 0, so that a rate exists from the first event on. */
export class Tally {
  readonly #counts = new Map<string, Sample>();

  constructor(initial?: Sample) {
    if (initial) this.#counts.set('{}', initial);
  }

  add(amount: number, labels: Readonly<Record<string, string>> = {}): void {
    const key = JSON.stringify(labels);
    this.#counts.set(key, { value: (this.#counts.get(key)?.value ?? 0) + amount, labels });
  }

  /** Drops the series of a thing that is closed: labels must not grow for ever. */
  forget(name: string, value: string): void {
    for (const [key, { labels }] of this.#counts) if (labels[name] === value) this.#counts.delete(key);
  }

  samples(): Sample[] {
    return [...this.#counts.values()];
  }
}
