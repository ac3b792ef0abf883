import type { PooledChild, ProcessLease } from './lease.ts';

/** How it is with a pool. */
export interface PoolStats {
  readonly max: number;
  /** Children that are leased and not gone yet. */
  readonly active: number;
  /** Slots of processes that are being started, or come too late and are being ended. */
  readonly starting: number;
  /** Acquires that wait for a slot. */
  readonly waiting: number;
  /** Acquires that wait before they try again. */
  readonly backingOff: number;
  /** Of the starting ones: were given up, and neither gave a child nor failed since. They hold their slot until they do. */
  readonly overdue: number;
  /** Of the active and starting ones: could not be ended, and hold their slot until they are. */
  readonly stuck: number;
}

/** The events of a pool. On `node:diagnostics_channel` they are `holdfast:process-pool:<event>`. */
export type ProcessPoolEvents = {
  acquired: (lease: ProcessLease<PooledChild>) => void;
  /** An attempt failed; another follows after `delayMs`. */
  retry: (error: unknown, attempt: number, delayMs: number) => void;
  /** A lease is held for longer than `leakAfterMs`; its stack tells who took it. */
  leak: (lease: ProcessLease<PooledChild>) => void;
  /** What could not be ended. Its slot stays taken. */
  failure: (error: unknown) => void;
};
