import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';

/** One way to do a thing: what is timed is `run`, once per call. */
interface Candidate {
  readonly name: string;
  readonly run: () => Promise<unknown> | unknown;
}

export interface Comparison {
  readonly title: string;
  /** Calls in a row that make up one sample. */
  readonly calls: number;
  readonly candidates: readonly [ours: Candidate, ...others: Candidate[]];
}

const ROUNDS = 7;

/** Runs all candidates in turn, round by round, and prints the medians and their ratios; the raw samples are kept. */
export async function compare({ title, calls, candidates }: Comparison): Promise<void> {
  const samples = new Map<string, number[]>(candidates.map(({ name }) => [name, []]));
  for (const candidate of candidates) await sample(candidate, calls);
  for (let round = 0; round < ROUNDS; round++) {
    for (const candidate of candidates) samples.get(candidate.name)?.push(await sample(candidate, calls));
  }
  report({ title, unit: 'µs', note: `${calls} calls each`, samples });
}

interface Report {
  readonly title: string;
  readonly unit: 'µs' | 'ms';
  readonly note?: string;
  readonly samples: Map<string, number[]>;
}

/** Prints the medians, with their ratios to the first where they are ways to do one thing, and keeps the samples. */
export function report({ title, unit, note, samples }: Report): void {
  const [ours = []] = samples.values();
  console.log(`\n${title} (median of ${ours.length}${note ? `, ${note}` : ''})`);
  for (const [name, values] of samples) {
    const range = `${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}`;
    const ratio = note ? `   ours is ${(median(ours) / median(values)).toFixed(2)}×` : '';
    console.log(`  ${name.padEnd(52)} ${median(values).toFixed(1).padStart(9)} ${unit}   (${range})${ratio}`);
  }
  keep({ title, unit, samples });
}

/** Microseconds per call. */
async function sample({ run }: Candidate, calls: number): Promise<number> {
  const before = performance.now();
  for (let call = 0; call < calls; call++) await run();
  return ((performance.now() - before) * 1000) / calls;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

function keep({ title, unit, samples }: Report): void {
  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const machine = { node: process.version, kernel: release(), cores: availableParallelism() };
  const file = new URL(`${title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.json`, folder);
  const text = JSON.stringify({ title, machine, unit, samples: Object.fromEntries(samples) }, null, 2);
  writeFileSync(file, `${text}\n`);
}
