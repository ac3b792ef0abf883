import { instrument } from 'holdfast/prometheus';
import { Counter, Gauge, Registry } from 'prom-client';
import type { Channel } from './channel.ts';
import type { Channels } from './channels.ts';
import { isStale } from './directory.ts';

/** What Prometheus is shown: every lock, child and hub by holdfast's own adapter, and what only the publisher knows. */
export class PublisherMetrics implements Disposable {
  readonly registry: Registry = new Registry();
  readonly #instrumented: Disposable;
  readonly #refreshFailures: Counter<'provider'>;

  /** Before any channel is made, so that every hub is seen. */
  constructor() {
    this.#instrumented = instrument(this.registry);
    this.#refreshFailures = new Counter({
      name: 'publisher_lineup_refresh_failures_total',
      help: 'Refreshes of a lineup or of the configuration that failed',
      labelNames: ['provider'],
      registers: [this.registry],
    });
  }

  /** Counts the channels at every scrape. */
  observe(channels: Channels): void {
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

  refreshFailed(provider: string): void {
    this.#refreshFailures.inc({ provider });
  }

  [Symbol.dispose](): void {
    this.#instrumented[Symbol.dispose]();
  }
}

function availabilityOf(channel: Channel): 'available' | 'unavailable' | 'stale' {
  if (isStale(channel.entry)) return 'stale';
  return channel.isAvailable ? 'available' : 'unavailable';
}
