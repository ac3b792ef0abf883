import type { FanoutHub } from '../fanout-hub/fanout-hub.ts';
import { Living } from './living.ts';
import { type Part, Tally, total } from './metric.ts';

/** What is left of a hub that is gone. */
interface Traffic {
  readonly name: string;
  bytesIn: number;
  bytesOut: number;
}

export function fanoutHubs(): Part {
  const dropped = new Tally();
  /** Of the hubs that are gone. */
  const former = { bytesIn: 0, bytesOut: 0 };
  const hubs = new Living<FanoutHub, Traffic>(({ name, bytesIn, bytesOut }) => {
    former.bytesIn += bytesIn;
    former.bytesOut += bytesOut;
    const hasNamesake = [...hubs.records()].some((other) => other.name === name);
    if (!hasNamesake) dropped.forget('name', name);
  });
  /** A counter must not go back, also if a hub is collected unseen: then it has what it had at the last scrape. */
  const note = (hub: FanoutHub) => {
    const { bytesIn, bytesOut } = hub.stats();
    const traffic = hubs.recordOf(hub);
    if (traffic) Object.assign(traffic, { bytesIn, bytesOut });
  };
  const bytes = (which: 'bytesIn' | 'bytesOut') => () => {
    for (const hub of hubs) note(hub);
    return total([former, ...hubs.records()], (traffic) => traffic[which]);
  };
  return {
    metrics: [
      {
        type: 'gauge',
        name: 'fanout_subscribers',
        help: 'Subscribers of each hub',
        read: () => [...hubs].map(({ name, subscribers }) => ({ value: subscribers, labels: { name } })),
      },
      { type: 'counter', name: 'fanout_bytes_in_total', help: 'Bytes read from sources', read: bytes('bytesIn') },
      { type: 'counter', name: 'fanout_bytes_out_total', help: 'Bytes handed to subscribers', read: bytes('bytesOut') },
      {
        type: 'counter',
        name: 'fanout_dropped_total',
        help: 'Subscribers disconnected by the hub',
        read: () => dropped.samples(),
      },
    ],
    listeners: {
      'holdfast:fanout-hub:created': ({ hub }: { hub: FanoutHub }) =>
        hubs.add(hub, { name: hub.name, bytesIn: 0, bytesOut: 0 }),
      'holdfast:fanout-hub:lag': ({ hub }: { hub: FanoutHub }) => {
        if (hubs.recordOf(hub)) dropped.add(1, { name: hub.name, reason: 'lagged' });
      },
      'holdfast:fanout-hub:closed': ({ hub }: { hub: FanoutHub }) => {
        note(hub);
        hubs.delete(hub);
      },
    },
  };
}
