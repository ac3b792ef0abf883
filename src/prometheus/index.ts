import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { checkKnown, show } from '../internal/options.ts';
import { circuitBreakers } from './circuit-breakers.ts';
import { fanoutHubs } from './fanout-hubs.ts';
import { managedChildren } from './managed-children.ts';
import { type MetricRegistry, scraped } from './metric.ts';
import { processPools } from './process-pools.ts';
import { sourceLocks } from './source-locks.ts';
import { supervisors } from './supervisors.ts';
import { tokenBuckets } from './token-buckets.ts';

export type { MetricRegistry } from './metric.ts';

const PARTS = [sourceLocks, managedChildren, circuitBreakers, tokenBuckets, processPools, supervisors, fanoutHubs];

/** How metrics are named. */
export interface InstrumentOptions {
  /** @default 'holdfast' */
  readonly prefix?: string | undefined;
}

/**
 * Shows every lock, child, circuit, bucket, pool, supervisor and hub of this process in a registry of
 * `@prometheus-io/client`, of `prom-client`, which was its name, or of another of the same shape. It listens to the
 * diagnostics channels and reads gauges when they are scraped; call it before the things to be seen are made. Dispose to
 * take the metrics out again. `using` is TypeScript's, and Node's from 24 on.
 *
 * @throws whatever the registry throws of a name that is registered already: two at a time need a `prefix` each
 *
 * @example
 * using metrics = instrument(registry);
 * response.end(await registry.metrics());
 */
export function instrument(registry: MetricRegistry, options: InstrumentOptions = {}): Disposable {
  checkKnown('instrument', options, ['prefix']);
  checkRegistry(registry);
  const prefix = checkPrefix(options.prefix ?? 'holdfast');
  const parts = PARTS.map((part) => part());
  const metrics = parts.flatMap((part) =>
    part.metrics.map((metric) => scraped({ ...metric, name: `${prefix}_${metric.name}` })),
  );
  const listening = parts.flatMap((part) => Object.entries(part.listeners));
  const undo: (() => unknown)[] = [];
  const dispose = () => {
    while (undo.length > 0) undo.pop()?.();
  };
  try {
    for (const metric of metrics) {
      registry.registerMetric(metric as never);
      undo.push(() => registry.removeSingleMetric(metric.name));
    }
    for (const [name, listener] of listening) {
      subscribe(name, listener);
      undo.push(() => unsubscribe(name, listener));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { [Symbol.dispose]: dispose };
}

function checkRegistry(registry: MetricRegistry): void {
  const has = (name: keyof MetricRegistry) => typeof registry?.[name] === 'function';
  if (has('registerMetric') && has('removeSingleMetric')) return;
  throw new TypeError(
    `registry must be a Registry of @prometheus-io/client or prom-client, received ${show(registry)}`,
  );
}

function checkPrefix(prefix: unknown): string {
  if (typeof prefix === 'string' && /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(prefix)) return prefix;
  throw new TypeError(`prefix must be letters, digits and _, not beginning with a digit, received ${String(prefix)}`);
}
