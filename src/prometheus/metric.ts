import { redactCredentials } from '../internal/redact.ts';

/**
 * What is used of a registry: `prom-client`'s, or another that takes the same metric objects. `never` accepts a registry
 * whatever type it gives its metrics.
 */
export interface MetricRegistry {
  registerMetric(metric: never): void;
  removeSingleMetric(name: string): void;
}

export type Labels = Readonly<Record<string, string>>;

/** One value of a metric, with its labels. */
export interface Sample {
  readonly value: number;
  readonly labels: Labels;
  /** Of a histogram's: what follows the name of the metric. */
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

type MetricType = 'counter' | 'gauge' | 'histogram';

/** How samples of one series become one: of two things of one name, and of several processes. */
type Aggregator = 'sum' | 'max';

const AGGREGATORS: Record<Aggregator, (a: number, b: number) => number> = { sum: add, max: Math.max };

/** A metric whose values are asked for at each scrape, in the shape that a registry reads. */
export interface ScrapedMetric {
  name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly aggregator: Aggregator;
  get(): Promise<{ name: string; help: string; type: string; aggregator: string; values: object[] }>;
  reset(): void;
}

export interface Metric {
  readonly type: MetricType;
  readonly name: string;
  readonly help: string;
  /** @default 'sum' */
  readonly aggregator?: Aggregator;
  readonly read: () => Sample[];
}

/** What one primitive shows, its metrics without the prefix, and the channels by which it is known. */
export interface Part {
  readonly metrics: readonly Metric[];
  // biome-ignore lint/suspicious/noExplicitAny: each channel has a payload of its own
  readonly listeners: Readonly<Record<string, (payload: any) => void>>;
}

export function scraped({ type, name, help, aggregator = 'sum', read }: Metric): ScrapedMetric {
  return {
    name,
    help,
    type,
    aggregator,
    get() {
      const values = bySeries(read(), AGGREGATORS[aggregator]).map(({ suffix, ...sample }) =>
        suffix ? { ...sample, metricName: this.name + suffix } : sample,
      );
      return Promise.resolve({ name: this.name, help, type, aggregator, values });
    },
    reset() {},
  };
}

/** Names are given by users, who may take a URL for one. */
function bySeries(samples: readonly Sample[], combine: (a: number, b: number) => number): Sample[] {
  const series = new Map<string, Sample>();
  for (const sample of samples) {
    const entries = Object.entries(sample.labels).map(([name, value]) => [name, redactCredentials(value)]);
    const key = JSON.stringify([sample.suffix, entries]);
    const value = series.has(key) ? combine((series.get(key) as Sample).value, sample.value) : sample.value;
    series.set(key, { ...sample, labels: Object.fromEntries(entries), value });
  }
  return [...series.values()];
}

function add(a: number, b: number): number {
  return a + b;
}

/** A gauge without labels: over all of them. */
export function total<T>(things: Iterable<T>, read: (thing: T) => number): Sample[] {
  return [{ value: [...things].map(read).reduce(add, 0), labels: {} }];
}

/** A counter per label value; one without labels starts at 0, so that a rate exists from the first event on. */
export class Tally {
  readonly #counts = new Map<string, Sample>();

  static fromZero(): Tally {
    const tally = new Tally();
    tally.add(0);
    return tally;
  }

  add(amount: number, labels: Labels = {}): void {
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
