import type { FanoutHub } from '../fanout-hub/fanout-hub.ts';
import type { OnLag } from '../fanout-hub/options.ts';
import { Living } from './living.ts';
import { type Metric, type Part, Tally, total } from './metric.ts';

/** What of a hub's statistics is counted, and is not forgotten when it is gone. */
const COUNTED = ['bytesIn', 'bytesOut', 'slices', 'skips', 'skippedBytes'] as const;

type Counts = Record<(typeof COUNTED)[number], number>;

/** What is left of a hub that is gone. */
interface Traffic extends Counts {
  readonly name: string;
}

export function fanoutHubs(): Part {
  const dropped = new Tally();
  /** Of the hubs that are gone. */
  const former = noCounts();
  const hubs = new Living<FanoutHub, Traffic>((gone) => {
    for (const which of COUNTED) former[which] += gone[which];
    if (!isNamed(gone.name)) dropped.forget('name', gone.name);
  });
  /** Whether a hub that lives has this name. */
  const isNamed = (name: string) => [...hubs.records()].some((hub) => hub.name === name);
  /** A counter must not go back, also if a hub is collected unseen: then it has what it had at the last scrape. */
  const note = (hub: FanoutHub) => {
    const stats = hub.stats();
    const traffic = hubs.recordOf(hub);
    for (const which of COUNTED) if (traffic) traffic[which] = stats[which];
  };
  const counter = (name: string, help: string, which: keyof Counts): Metric => ({
    ...{ type: 'counter', name, help },
    read: () => {
      for (const hub of hubs) note(hub);
      return total([former, ...hubs.records()], (traffic) => traffic[which]);
    },
  });
  const gauge = (name: string, help: string, of: (hub: FanoutHub) => number): Metric => ({
    ...{ type: 'gauge', name, help },
    read: () => [...hubs].map((hub) => ({ value: of(hub), labels: { name: hub.name } })),
  });
  return {
    metrics: [
      gauge('fanout_subscribers', 'Subscribers of each hub', ({ subscribers }) => subscribers),
      {
        ...gauge(
          'fanout_lag_bytes',
          'How far behind the slowest subscriber of each hub is',
          (hub) => hub.stats().lagBytes,
        ),
        aggregator: 'max',
      },
      counter('fanout_bytes_in_total', 'Bytes read from sources', 'bytesIn'),
      counter('fanout_bytes_out_total', 'Bytes handed to subscribers', 'bytesOut'),
      counter('fanout_slices_total', 'Slices cut, each written once for every subscriber', 'slices'),
      counter('fanout_skips_total', 'How often a subscriber was too far behind and began to skip', 'skips'),
      counter('fanout_skipped_bytes_total', 'Bytes that subscribers skipped', 'skippedBytes'),
      {
        type: 'counter',
        name: 'fanout_dropped_total',
        help: 'Subscribers that were disconnected, by reason: too far behind (lagged)',
        read: () => dropped.samples(),
      },
    ],
    listeners: {
      'holdfast:fanout-hub:created': ({ hub }: { hub: FanoutHub }) => hubs.add(hub, { name: hub.name, ...noCounts() }),
      'holdfast:fanout-hub:lag': ({ hub, onLag }: { hub: FanoutHub; onLag: OnLag }) => {
        // It may be gone already, with what it gave still being flushed.
        if (onLag === 'disconnect' && isNamed(hub.name)) dropped.add(1, { name: hub.name, reason: 'lagged' });
      },
      'holdfast:fanout-hub:closed': ({ hub }: { hub: FanoutHub }) => {
        note(hub);
        hubs.delete(hub);
      },
    },
  };
}

function noCounts(): Counts {
  return { bytesIn: 0, bytesOut: 0, slices: 0, skips: 0, skippedBytes: 0 };
}
