import { Counter, collectDefaultMetrics, Gauge, Registry } from '@prometheus-io/client';
import { instrument } from 'holdfast/prometheus';
import type { Channel } from './channel/channel.ts';
import type { Channels } from './channel/channels.ts';
import { isStale } from './directory/directory.ts';
import type { Guide } from './guide/guide.ts';
import type { TooMany } from './http/connections.ts';
import { LoopDelay } from './loop-delay.ts';
import { OrphanLook } from './orphan-look.ts';

/** `promtool check metrics` refuses their names: gauges that are named as counters, and what has its type in its name. */
const MISNAMED = [
  ...['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'],
  ...['nodejs_eventloop_utilization_histogram', 'nodejs_eventloop_utilization_summary'],
];

/** What the library would look at again and again, whether anybody scrapes or not: so rarely that it costs nothing. */
const NEVER = { eventLoopMonitoringPrecision: 2 ** 31 - 1, eventLoopUtilizationTimeout: 2 ** 31 - 1 };

/** What Prometheus is shown: all that holdfast's own adapter does, this process, and what only the publisher knows. */
export class PublisherMetrics implements Disposable {
  readonly registry: Registry = new Registry();
  readonly #instrumented: Disposable;
  readonly #loopDelay: LoopDelay;
  readonly #refreshFailures: Counter<'provider'>;
  readonly #pullFailures: Counter<'source'>;
  readonly #refused: Counter<'why'>;

  /** Before any channel is made, so that every hub is seen. */
  constructor(orphans: OrphanLook = new OrphanLook()) {
    this.#instrumented = instrument(this.registry);
    collectDefaultMetrics({ register: this.registry, ...NEVER });
    for (const name of MISNAMED) this.registry.removeSingleMetric(name);
    this.#loopDelay = new LoopDelay(this.registry);
    new Gauge({
      name: 'publisher_orphans',
      help: 'Processes on this host whose owner is dead',
      registers: [this.registry],
      async collect() {
        // Where it can't be looked for them all other metrics are wanted the more.
        const found = await orphans.find().catch(() => undefined);
        this.set(found?.length ?? Number.NaN);
      },
    });
    this.#refreshFailures = new Counter({
      name: 'publisher_lineup_refresh_failures_total',
      help: 'Refreshes of a lineup or of the configuration that failed',
      labelNames: ['provider'],
      registers: [this.registry],
    });
    this.#refused = new Counter({
      name: 'publisher_connections_refused_total',
      help: 'Connections that were closed as too many, of all or of one address',
      labelNames: ['why'],
      registers: [this.registry],
    });
    this.#pullFailures = new Counter({
      name: 'publisher_guide_pull_failures_total',
      help: 'Pulls of a guide that failed; the one before stays',
      labelNames: ['source'],
      registers: [this.registry],
    });
  }

  connectionRefused(why: TooMany): void {
    this.#refused.inc({ why });
  }

  /** Counts the channels at every scrape. */
  observe(channels: Channels): void {
    this.#observeReading(channels);
    const gauge: Gauge<'availability'> = new Gauge({
      name: 'publisher_channels',
      help: 'Channels by availability',
      labelNames: ['availability'],
      registers: [this.registry],
      collect() {
        const counts = { available: 0, unavailable: 0, stale: 0 };
        for (const channel of channels) counts[availabilityOf(channel)] += 1;
        for (const [availability, count] of Object.entries(counts)) gauge.set({ availability }, count);
      },
    });
  }

  /** Read from the channels at every scrape, so that the series of one that is gone are gone too. */
  #observeReading(channels: Channels): void {
    const errors: Counter<'channel'> = new Counter({
      name: 'publisher_continuity_errors_total',
      help: 'Packets that were missing in what channels read',
      labelNames: ['channel'],
      registers: [this.registry],
      collect() {
        errors.reset();
        for (const { entry, continuityErrors } of channels) errors.inc({ channel: entry.id }, continuityErrors);
      },
    });
    const switches: Counter<'channel' | 'why'> = new Counter({
      name: 'publisher_source_switches_total',
      help: 'Changes of channels from one of their sources to another',
      labelNames: ['channel', 'why'],
      registers: [this.registry],
      collect() {
        switches.reset();
        for (const { entry, switchCounts } of channels) {
          for (const [why, count] of switchCounts) switches.inc({ channel: entry.id, why }, count);
        }
      },
    });
  }

  /** Looks at the guide at every scrape. */
  observeGuide(guide: Guide): void {
    new Gauge({
      name: 'publisher_guide_programmes',
      help: 'Programmes in the guide that is served',
      registers: [this.registry],
      collect() {
        this.set(guide.state.programmes);
      },
    });
    new Gauge({
      name: 'publisher_guide_age_seconds',
      help: 'Time since a source of the guide was last pulled well',
      labelNames: ['source'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [source, age] of guide.state.ages) this.set({ source }, age);
      },
    });
  }

  pullFailed(source: string): void {
    this.#pullFailures.inc({ source });
  }

  refreshFailed(provider: string): void {
    this.#refreshFailures.inc({ provider });
  }

  [Symbol.dispose](): void {
    this.#instrumented[Symbol.dispose]();
    this.#loopDelay[Symbol.dispose]();
  }
}

function availabilityOf(channel: Channel): 'available' | 'unavailable' | 'stale' {
  if (isStale(channel.entry)) return 'stale';
  return channel.isAvailable ? 'available' : 'unavailable';
}
