import { checkKnown, checkNumber, checkSignal, checkString, show } from '../internal/options.ts';
import type { AdmissionCheck } from './admission.ts';

/** What is used of a `TokenBucket`. */
export interface SpawnRate {
  take(count: number, options: { readonly signal: AbortSignal; readonly timeoutMs: number }): Promise<unknown>;
}

/** How many processes there may be, and how they are started. */
export interface ProcessPoolOptions {
  /** Processes at a time, those that are being started or ended counted. At least 1. */
  readonly max: number;
  /** A `TokenBucket`: each attempt takes a token when it has a slot, also if `admission` then refuses it. */
  readonly spawnRate?: SpawnRate | undefined;
  /** Asked before each start; the first that has something against it refuses the acquire with `AdmissionError`. */
  readonly admission?: readonly AdmissionCheck[] | undefined;
  /**
   * How many may wait for a slot, or for the process that another of the same `key` waits for; one more is refused with
   * `WaiterLimitError`. As many, and at least `max`, may back off; one more fails with what its attempt failed with.
   * @default 10_000
   */
  readonly maxWaiters?: number | undefined;
  /** A lease that is held for longer is told of by the event `leak`, with the stack that took it; that costs time in each acquire. */
  readonly leakAfterMs?: number | undefined;
  readonly acquire?: AcquirePolicy | undefined;
}

/** How long an acquire goes on trying. */
export interface AcquirePolicy {
  /**
   * For all of it: waiting, starting and trying again.
   * @default 90_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * For one start, from the call of `spawn` on.
   * @default 15_000
   */
  readonly spawnTimeoutMs?: number | undefined;
  /**
   * How often a process is started for one acquire, at most.
   * @default 5
   */
  readonly maxAttempts?: number | undefined;
  /**
   * How long to wait after a failed attempt; no slot is held meanwhile.
   * @default (attempt) => Math.random() * Math.min(2 ** attempt, 60) * 1_000
   */
  readonly backoffMs?: ((attempt: number) => number) | undefined;
}

export interface AcquireOptions {
  /**
   * While an acquire of a key is under way, others of the same key join it and get the same lease; it ends for all of them
   * when the first releases it. It is started by the `spawn` and with the priority of the first.
   */
  readonly key?: string | undefined;
  /**
   * Who waits with a higher one gets a slot first. Within one, who came first. For a token of `spawnRate` all wait in turn.
   * @default 0
   */
  readonly priority?: number | undefined;
  /** Ends the waiting. It does nothing to a child that was acquired. */
  readonly signal?: AbortSignal | undefined;
  /** For this one, in the place of the pool's. */
  readonly timeoutMs?: number | undefined;
}

export interface DrainOptions {
  readonly signal?: AbortSignal | undefined;
  /** @default 90_000 */
  readonly timeoutMs?: number | undefined;
}

/** How long somebody waits. */
export interface Patience {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

export interface PoolPolicy {
  readonly max: number;
  readonly spawnRate: SpawnRate | undefined;
  readonly admission: readonly AdmissionCheck[];
  readonly maxWaiters: number;
  readonly leakAfterMs: number | undefined;
  readonly timeoutMs: number;
  readonly spawnTimeoutMs: number;
  readonly maxAttempts: number;
  backoffMs(attempt: number): number;
}

export function resolveOptions(options: ProcessPoolOptions): PoolPolicy {
  checkKnown('ProcessPool', options, ['max', 'spawnRate', 'admission', 'maxWaiters', 'leakAfterMs', 'acquire']);
  const { spawnRate, admission = [], leakAfterMs, acquire = {} } = options;
  checkKnown('ProcessPool.acquire', acquire, ['timeoutMs', 'spawnTimeoutMs', 'maxAttempts', 'backoffMs']);
  const whole = { integer: true };
  return {
    max: checkNumber('max', options.max, { ...whole, min: 1 }),
    spawnRate: checkSpawnRate(spawnRate),
    admission: checkAdmission(admission),
    maxWaiters: checkNumber('maxWaiters', options.maxWaiters ?? 10_000, whole),
    leakAfterMs: leakAfterMs === undefined ? undefined : checkNumber('leakAfterMs', leakAfterMs),
    timeoutMs: checkNumber('acquire.timeoutMs', acquire.timeoutMs ?? 90_000),
    spawnTimeoutMs: checkNumber('acquire.spawnTimeoutMs', acquire.spawnTimeoutMs ?? 15_000),
    maxAttempts: checkNumber('acquire.maxAttempts', acquire.maxAttempts ?? 5, { ...whole, min: 1 }),
    backoffMs: checkBackoff(acquire.backoffMs),
  };
}

function checkSpawnRate(rate: unknown): SpawnRate | undefined {
  if (rate === undefined || typeof (rate as SpawnRate | null)?.take === 'function')
    return rate as SpawnRate | undefined;
  throw new TypeError(`spawnRate must be a TokenBucket, received ${show(rate)}`);
}

function checkAdmission(checks: unknown): readonly AdmissionCheck[] {
  const what = 'of checks, such as minFreeMemory(2 ** 28)';
  if (!Array.isArray(checks)) throw new TypeError(`admission must be an array ${what}, received ${show(checks)}`);
  const wrong = checks.findIndex((check) => typeof check !== 'function');
  if (wrong === -1) return [...checks];
  throw new TypeError(`admission[${wrong}] must be one ${what}, received ${show(checks[wrong])}`);
}

function checkBackoff(backoff: ((attempt: number) => number) | undefined): (attempt: number) => number {
  if (backoff === undefined) return (attempt) => Math.random() * Math.min(2 ** attempt, 60) * 1_000;
  if (typeof backoff !== 'function')
    throw new TypeError(`acquire.backoffMs must be a function, received ${show(backoff)}`);
  return (attempt) => checkNumber(`acquire.backoffMs(${attempt})`, backoff(attempt));
}

/** What one acquire asks for. */
export interface AcquireRequest extends Patience {
  readonly key: string | undefined;
  readonly priority: number;
}

export function resolveAcquire(options: AcquireOptions, policy: PoolPolicy): AcquireRequest {
  checkKnown('acquire', options, ['key', 'priority', 'signal', 'timeoutMs']);
  return {
    key: options.key === undefined ? undefined : checkString('key', options.key),
    priority: checkNumber('priority', options.priority ?? 0, { min: Number.NEGATIVE_INFINITY }),
    signal: checkSignal(options.signal),
    timeoutMs: checkNumber('timeoutMs', options.timeoutMs ?? policy.timeoutMs),
  };
}

export function resolveDrain(options: DrainOptions): Patience {
  checkKnown('drain', options, ['signal', 'timeoutMs']);
  const timeoutMs = checkNumber('timeoutMs', options.timeoutMs ?? 90_000);
  return { timeoutMs, signal: checkSignal(options.signal) };
}
