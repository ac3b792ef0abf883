import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Gauge, type Registry } from '@prometheus-io/client';

/** How often the event loop is looked at. */
const LOOK_EVERY_MS = 100;
/** Who scrapes does so more often than that. */
const UNASKED_MS = 300_000;

interface Figure {
  /** As dashboards of Node know it. */
  readonly name: string;
  readonly help: string;
  /** In nanoseconds, as all that Node tells of its looks. */
  readonly of: (looks: IntervalHistogram) => number;
}

/** Node tells how far apart its looks were. */
const late = (apartNs: number) => Math.max(0, apartNs - LOOK_EVERY_MS * 1e6);

const FIGURES: readonly Figure[] = [
  { name: 'min', help: 'The minimum recorded event loop delay.', of: ({ min }) => late(min) },
  { name: 'max', help: 'The maximum recorded event loop delay.', of: ({ max }) => late(max) },
  { name: 'mean', help: 'The mean of the recorded event loop delays.', of: ({ mean }) => late(mean) },
  { name: 'stddev', help: 'The standard deviation of the recorded event loop delays.', of: ({ stddev }) => stddev },
  ...[50, 90, 99].map((percent) => ({
    name: `p${percent}`,
    help: `The ${percent}th percentile of the recorded event loop delays.`,
    of: (looks: IntervalHistogram) => late(looks.percentile(percent)),
  })),
];

/**
 * How late the event loop was since the last scrape, without the pause between two looks, which Node's own figures contain.
 * It is looked at only while somebody scrapes: a publisher that nobody watches is not to wake up for figures that nobody
 * reads.
 */
export class LoopDelay implements Disposable {
  readonly #looks = monitorEventLoopDelay({ resolution: LOOK_EVERY_MS });
  readonly #gauges: ReadonlyMap<Figure, Gauge>;
  readonly #unasked: NodeJS.Timeout;

  constructor(registry: Registry, unaskedMs: number = UNASKED_MS) {
    this.#unasked = setTimeout(() => this.#looks.disable(), unaskedMs).unref();
    // The first of them is collected first, and sets all.
    const collect = () => this.#collect();
    this.#gauges = new Map(
      FIGURES.map((figure, index) => {
        const name = `nodejs_eventloop_lag_${figure.name}_seconds`;
        registry.removeSingleMetric(name);
        const { help } = figure;
        return [figure, new Gauge({ name, help, registers: [registry], ...(index === 0 && { collect }) })];
      }),
    );
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#unasked);
    this.#looks.disable();
  }

  #collect(): void {
    for (const [{ of }, gauge] of this.#gauges) gauge.set(this.#looks.count === 0 ? 0 : of(this.#looks) / 1e9);
    this.#looks.reset();
    this.#looks.enable();
    this.#unasked.refresh();
  }
}
