import { HoldfastError } from './common.ts';

/** What was to be acquired was not to be had in time; nothing was taken. `cause` is the last failure, where there was one. */
export class AcquireTimeoutError extends HoldfastError {
  readonly code = 'HOLDFAST_ACQUIRE_TIMEOUT';
  override readonly retryable = true;
  /** For how long it waited: 0 if it was clear from the start that it can't be had in time. */
  readonly waitedMs: number;
  /** How often a process was to be started for it; 0 if there was never a slot, or none was to be started. */
  readonly attempts: number;
  /** For how much of `waitedMs` there was no slot or no token for it. */
  readonly queuedMs: number;
  declare readonly retryAfterMs?: number;

  constructor(message: string, { waitedMs, attempts = 0, queuedMs = waitedMs, retryAfterMs, cause }: AcquireFailure) {
    super(message, cause === undefined ? undefined : { cause });
    this.waitedMs = waitedMs;
    this.attempts = attempts;
    this.queuedMs = queuedMs;
    if (retryAfterMs !== undefined) this.retryAfterMs = retryAfterMs;
  }
}

export interface AcquireFailure {
  readonly waitedMs: number;
  readonly attempts?: number;
  readonly queuedMs?: number;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** As many wait already as may (`maxWaiters`). */
export class WaiterLimitError extends HoldfastError {
  readonly code = 'HOLDFAST_WAITER_LIMIT';
  override readonly retryable = true;

  constructor(what: string, maxWaiters: number) {
    super(
      maxWaiters === 0
        ? `${what} lets nobody wait (maxWaiters 0)`
        : `${what} has ${maxWaiters} waiters already, its limit (maxWaiters)`,
    );
  }
}

/** The circuit lets no call through at the moment; nothing was called. `cause` is the failure that opened it, if it was one. */
export class CircuitOpenError extends HoldfastError {
  readonly code = 'HOLDFAST_CIRCUIT_OPEN';
  override readonly retryable = true;
  declare readonly retryAfterMs?: number;

  /** @param retryAfterMs `Infinity` where nobody can tell: it is isolated, or its probe may take as long as it likes */
  constructor(name: string, retryAfterMs: number, cause: unknown) {
    const next =
      retryAfterMs === Number.POSITIVE_INFINITY
        ? 'lets no call through until it is released or reset, or its probe has ended'
        : `lets no call through for ${Math.ceil(retryAfterMs)} ms`;
    super(`the circuit ${name} ${next}`, cause === undefined ? undefined : { cause });
    if (retryAfterMs !== Number.POSITIVE_INFINITY) this.retryAfterMs = retryAfterMs;
  }
}

/** A process was not to be started now: memory, descriptors or the load speak against it. Nothing was started. */
export class AdmissionError extends HoldfastError {
  readonly code = 'HOLDFAST_ADMISSION';
  override readonly retryable = true;

  constructor(why: string) {
    super(`no process is started: ${why}`);
  }
}

/** A start took longer than it may (`spawnTimeoutMs`); what still comes of it is ended. */
export class SpawnTimeoutError extends HoldfastError {
  readonly code = 'HOLDFAST_SPAWN_TIMEOUT';
  override readonly retryable = true;

  constructor(timeoutMs: number) {
    super(`the process was not there within ${timeoutMs} ms (spawnTimeoutMs)`);
  }
}

/** What `ProcessPool.stats` says of them. */
export interface SlotsInUse {
  readonly active: number;
  readonly starting: number;
  readonly overdue: number;
  readonly stuck: number;
}

/** A pool was not empty in time: leases are held, or processes are still being started or ended. It goes on. */
export class PoolInUseError extends HoldfastError {
  readonly code = 'HOLDFAST_POOL_IN_USE';
  override readonly retryable = true;
  /** Slots that are taken. */
  readonly taken: number;

  constructor({ active, starting, overdue, stuck }: SlotsInUse, waitedMs: number) {
    const what = [`${active} by leases, see leases()`, `${starting} by starts`];
    if (overdue > 0) what.push(`of which ${overdue} ignore their signal`);
    if (stuck > 0) what.push(`and ${stuck} of all by what can't be ended`);
    super(`slots of the pool are still taken after ${Math.round(waitedMs)} ms: ${what.join(', ')}`);
    this.taken = active + starting;
  }
}
