import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';

/** One way to do a thing: what is timed is `run`, once per call. */
export interface Candidate {
  readonly name: string;
  readonly run: () => Promise<unknown> | unknown;
  /** Where one takes so long that fewer will do. @default that of the comparison */
  readonly calls?: number;
}

export interface Comparison {
  readonly title: string;
  /** Calls in a row that make up one sample. */
  readonly calls: number;
  /** What a sample is of its calls: their mean, or the p50, timed call by call. @default 'mean' */
  readonly sample?: Statistic;
  /** Ours first. */
  readonly candidates: readonly Candidate[];
}

type Statistic = 'mean' | 'p50';

export const ROUNDS = 7;

/** Runs all candidates in turn, round by round, and prints the medians and their ratios; the raw samples are kept. */
export async function compare({ title, calls, sample = 'mean', candidates }: Comparison): Promise<void> {
  const samples = new Map<string, number[]>(candidates.map(({ name }) => [name, []]));
  const measure = (candidate: Candidate) => samplers[sample](candidate.run, candidate.calls ?? calls);
  for (const candidate of candidates) await measure(candidate);
  for (let round = 0; round < ROUNDS; round++) {
    for (const candidate of candidates) samples.get(candidate.name)?.push(await measure(candidate));
  }
  const fewest = Math.min(...candidates.map((candidate) => candidate.calls ?? calls));
  const note = `${sample} of ${calls === fewest ? '' : `${fewest} to `}${calls} calls each`;
  report({ title, unit: 'µs', note, samples, relation: ofOurs });
}

interface Report {
  readonly title: string;
  readonly unit: 'µs' | 'ms' | 'KiB' | 'of them';
  readonly note?: string;
  readonly samples: ReadonlyMap<string, readonly number[]>;
  /** What is told beside the median. @default 'range' */
  readonly spread?: 'range' | 'p99';
  /** What a median is beside the first. */
  readonly relation?: (first: number, value: number) => string;
}

/** For ways to do one thing. */
export function ofOurs(ours: number, other: number): string {
  const ratio = ours / other;
  return `ours is ${ratio < 0.1 ? ratio.toPrecision(1) : ratio.toFixed(2)}×`;
}

/** For one way under growing load. */
export function ofFirst(first: number, value: number): string {
  return `${(value / first).toFixed(2)}× the first`;
}

/** Prints the medians, with their relation to the first, and keeps the samples; what never ended is `Infinity`. */
export function report({ title, unit, note, samples, spread = 'range', relation = () => '' }: Report): void {
  const [ours = []] = samples.values();
  console.log(`\n${title} (median of ${ours.length}${note ? `, ${note}` : ''})`);
  for (const [name, values] of samples) {
    if (!values.every(Number.isFinite)) {
      console.log(`  ${name.padEnd(52)} left alive`);
      continue;
    }
    const range =
      spread === 'p99'
        ? `(p99 ${quantile(values, 0.99).toFixed(1)})`
        : `(${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)})`;
    const figures = `${median(values).toFixed(1).padStart(9)} ${unit}   ${range.padEnd(20)}`;
    console.log(`  ${name.padEnd(52)} ${figures} ${relation(median(ours), median(values))}`.trimEnd());
  }
  keep(title, { unit, samples: Object.fromEntries(samples) });
}

/** One sample of a way to do a thing, in microseconds per call. */
export const samplers: Record<Statistic, (run: Candidate['run'], calls: number) => Promise<number>> = {
  async mean(run, calls) {
    const before = performance.now();
    for (let call = 0; call < calls; call++) await run();
    return ((performance.now() - before) * 1000) / calls;
  },
  async p50(run, calls) {
    const times: number[] = [];
    for (let call = 0; call < calls; call++) {
      const before = performance.now();
      await run();
      times.push((performance.now() - before) * 1000);
    }
    return median(times);
  },
};

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Of fewer than 100 values the 0.99 quantile is the largest. */
function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] as number;
}

/** Writes raw results beside those of other runs, with the machine they are of. */
export function keep(title: string, results: object): void {
  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const machine = { node: process.version, kernel: release(), cores: availableParallelism() };
  const file = new URL(`${title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.json`, folder);
  const text = JSON.stringify({ title, machine, ...results }, null, 2);
  writeFileSync(file, `${text}\n`);
}
