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
  const medians = new Map([...samples].map(([name, values]) => [name, median(values)]));
  const ours = medians.get(candidates[0].name) as number;
  console.log(`\n${title} (median of ${ROUNDS}, ${calls} calls each)`);
  for (const [name, microseconds] of medians) {
    console.log(
      `  ${name.padEnd(44)} ${microseconds.toFixed(1).padStart(9)} µs   ours is ${(ours / microseconds).toFixed(2)}×`,
    );
  }
  keep(title, samples);
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

function keep(title: string, samples: Map<string, number[]>): void {
  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const machine = { node: process.version, kernel: release(), cores: availableParallelism() };
  const file = new URL(`${title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.json`, folder);
  const text = JSON.stringify({ title, machine, unit: 'µs per call', samples: Object.fromEntries(samples) }, null, 2);
  writeFileSync(file, `${text}\n`);
}
