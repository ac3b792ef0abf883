import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ChildExit } from '../errors.ts';
import type { FanoutHub } from '../fanout-hub/fanout-hub.ts';
import type { ManagedChild } from '../managed-child/managed-child.ts';
import type { SourceLock } from '../source-lock/source-lock.ts';
import { type MetricRegistry, type Sample, scraped, Tally } from './metric.ts';

export type { MetricRegistry } from './metric.ts';

/** How metrics are named. */
export interface InstrumentOptions {
  /** @default 'holdfast' */
  readonly prefix?: string | undefined;
}

/**
 * Shows every lock, child and hub of this process in a registry of `prom-client`, or another of the same shape. It listens
 * to the diagnostics channels and reads gauges when they are scraped; call it before the things to be seen are made.
 * Dispose to take the metrics out again.
 *
 * @example
 * using metrics = instrument(registry);
 * response.end(await registry.metrics());
 */
export function instrument(registry: MetricRegistry, options: InstrumentOptions = {}): Disposable {
  const prefix = checkPrefix(options.prefix ?? 'holdfast');
  const parts = [sourceLocks(), managedChildren(), fanoutHubs()];
  const metrics = parts.flatMap((part) =>
    part.metrics.map(({ type, name, help, read }) => scraped(type, `${prefix}_${name}`, help, read)),
  );
  const listening = parts.flatMap((part) => Object.entries(part.listeners));
  for (const metric of metrics) registry.registerMetric(metric as never);
  for (const [name, listener] of listening) subscribe(name, listener);
  return {
    [Symbol.dispose]() {
      for (const [name, listener] of listening) unsubscribe(name, listener);
      for (const { name } of metrics) registry.removeSingleMetric(name);
    },
  };
}

function checkPrefix(prefix: unknown): string {
  if (typeof prefix === 'string' && /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(prefix)) return prefix;
  throw new TypeError(`prefix must be letters, digits and _, not beginning with a digit, received ${String(prefix)}`);
}

interface Part {
  readonly metrics: readonly { type: 'counter' | 'gauge'; name: string; help: string; read: () => Sample[] }[];
  // biome-ignore lint/suspicious/noExplicitAny: each channel has a payload of its own
  readonly listeners: Readonly<Record<string, (payload: any) => void>>;
}

const zero = (): Tally => new Tally({ value: 0, labels: {} });

function sourceLocks(): Part {
  const held = new Map<string, SourceLock>();
  const refused = zero();
  const reclaimed = zero();
  const read = () => [...held.keys()].map((key) => ({ value: 1, labels: { key } }));
  return {
    metrics: [
      { type: 'gauge', name: 'source_lock_held', help: 'Source locks that this process holds', read },
      {
        type: 'counter',
        name: 'source_lock_refused_total',
        help: 'Acquisitions refused because another holds the source',
        read: () => refused.samples(),
      },
      {
        type: 'counter',
        name: 'source_lock_reclaimed_total',
        help: 'Locks taken over from a holder that died',
        read: () => reclaimed.samples(),
      },
    ],
    listeners: {
      'holdfast:source-lock:created': ({ lock }: { lock: SourceLock }) => {
        for (const key of lock.keys) held.set(key, lock);
      },
      'holdfast:source-lock:released': ({ lock }: { lock: SourceLock }) => {
        for (const key of lock.keys) if (held.get(key) === lock) held.delete(key);
      },
      'holdfast:source-lock:refused': () => refused.add(1),
      'holdfast:source-lock:reclaimed': () => reclaimed.add(1),
    },
  };
}

function managedChildren(): Part {
  const active = new Set<ManagedChild>();
  const exits = new Tally();
  const escapees = zero();
  return {
    metrics: [
      {
        type: 'gauge',
        name: 'children_active',
        help: 'Children whose tree is not gone yet',
        read: () => [{ value: active.size, labels: {} }],
      },
      {
        type: 'counter',
        name: 'child_exits_total',
        help: 'Children that ended, by cause',
        read: () => exits.samples(),
      },
      {
        type: 'counter',
        name: 'child_escapees_total',
        help: 'Processes that had left their group and were ended',
        read: () => escapees.samples(),
      },
    ],
    listeners: {
      'holdfast:managed-child:created': ({ child }: { child: ManagedChild }) => active.add(child),
      'holdfast:managed-child:closed': ({ child, exit }: { child: ManagedChild; exit: ChildExit }) => {
        active.delete(child);
        exits.add(1, { reason: exit.reason });
        escapees.add(exit.escapees);
      },
    },
  };
}

function fanoutHubs(): Part {
  const hubs = new Set<WeakRef<FanoutHub>>();
  const closedIn = zero();
  const closedOut = zero();
  const dropped = new Tally();
  const living = () => {
    for (const reference of hubs) if (!reference.deref()) hubs.delete(reference);
    return [...hubs].flatMap((reference) => reference.deref() ?? []);
  };
  const total = (closed: Tally, read: (hub: FanoutHub) => number) => {
    const value = living().reduce((sum, hub) => sum + read(hub), closed.samples()[0]?.value ?? 0);
    return [{ value, labels: {} }];
  };
  return {
    metrics: [
      {
        type: 'gauge',
        name: 'fanout_subscribers',
        help: 'Subscribers of each hub',
        read: () => living().map((hub) => ({ value: hub.subscribers, labels: { name: hub.name } })),
      },
      {
        type: 'counter',
        name: 'fanout_bytes_in_total',
        help: 'Bytes read from sources',
        read: () => total(closedIn, (hub) => hub.stats().bytesIn),
      },
      {
        type: 'counter',
        name: 'fanout_bytes_out_total',
        help: 'Bytes handed to subscribers',
        read: () => total(closedOut, (hub) => hub.stats().bytesOut),
      },
      {
        type: 'counter',
        name: 'fanout_dropped_total',
        help: 'Subscribers disconnected by the hub',
        read: () => dropped.samples(),
      },
    ],
    listeners: {
      'holdfast:fanout-hub:created': ({ hub }: { hub: FanoutHub }) => hubs.add(new WeakRef(hub)),
      'holdfast:fanout-hub:lag': ({ hub }: { hub: FanoutHub }) => dropped.add(1, { name: hub.name, reason: 'lagged' }),
      'holdfast:fanout-hub:closed': ({ hub }: { hub: FanoutHub }) => {
        closedIn.add(hub.stats().bytesIn);
        closedOut.add(hub.stats().bytesOut);
        for (const reference of hubs) if (reference.deref() === hub) hubs.delete(reference);
        dropped.forget('name', hub.name);
      },
    },
  };
}
