// crowd-sampler.ts <port> <viewers>: some viewers of a crowd, who say how long their bytes took when stdin ends.
import { Viewer } from './crowd-viewer.ts';

export interface Samples {
  /** From when a byte was due to when a viewer had it. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly faults: readonly string[];
}

const [port, count] = process.argv.slice(2).map(Number);
const viewers = Array.from({ length: count as number }, () => new Viewer(port as number));
process.stdin.resume().once('end', () => {
  const faults = viewers.flatMap(({ fault }) => fault ?? []);
  const latencies = viewers.flatMap(({ latenciesMs }) => latenciesMs).sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor((latencies.length - 1) * share)] ?? Number.NaN;
  console.log(JSON.stringify({ p50Ms: at(0.5), p99Ms: at(0.99), faults } satisfies Samples));
  for (const viewer of viewers) viewer.destroy();
});
