import type { PooledChild, ProcessLease } from '../process-pool/lease.ts';
import type { ProcessPool } from '../process-pool/process-pool.ts';
import { Histogram } from './histogram.ts';
import { Living } from './living.ts';
import { type Part, Tally, total } from './metric.ts';

/** From what a start takes to the longest that an acquire waits by default. */
const LATENCY_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90];

export function processPools(): Part {
  const pools = new Living<ProcessPool>();
  const latency = new Histogram(LATENCY_SECONDS);
  const timeouts = Tally.fromZero();
  return {
    metrics: [
      {
        type: 'histogram',
        name: 'pool_acquisition_latency_seconds',
        help: 'From the call of acquire to its lease',
        read: () => latency.samples(),
      },
      {
        type: 'counter',
        name: 'pool_spawn_timeout_total',
        help: 'Starts that took longer than they may',
        read: () => timeouts.samples(),
      },
      {
        type: 'gauge',
        name: 'pool_active',
        help: 'Children of pools that are leased or not gone yet',
        read: () => total(pools, (pool) => pool.stats().active),
      },
      {
        type: 'gauge',
        name: 'pool_max',
        help: 'Slots of all pools',
        read: () => total(pools, (pool) => pool.stats().max),
      },
      {
        type: 'gauge',
        name: 'pool_stuck',
        help: 'Slots of what could not be ended, or was given up and goes on',
        read: () => total(pools, (pool) => pool.stats().stuck + pool.stats().overdue),
      },
      {
        type: 'gauge',
        name: 'pool_waiting',
        help: 'Acquires that wait for a slot',
        read: () => total(pools, (pool) => pool.stats().waiting),
      },
    ],
    listeners: {
      'holdfast:process-pool:created': ({ pool }: { pool: ProcessPool }) => pools.add(pool, undefined),
      'holdfast:process-pool:closed': ({ pool }: { pool: ProcessPool }) => pools.delete(pool),
      'holdfast:process-pool:acquired': ({ lease }: { lease: ProcessLease<PooledChild> }) =>
        latency.observe(lease.waitedMs / 1_000),
      'holdfast:process-pool:spawn-timeout': () => timeouts.add(1),
    },
  };
}
