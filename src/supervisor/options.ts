import { type CircuitBreakerOptions, resolveOptions as resolveBreaker } from '../circuit-breaker/options.ts';
import { checkKnown, checkNumber, checkOneOf, checkPositive } from '../internal/options.ts';
import { shielded } from '../internal/shielded.ts';

/** When services may be restarted. */
export interface SupervisorOptions {
  /**
   * So many restarts of all services together within `periodMs` are a storm: there are no more until the first of them is
   * that long ago.
   * @default 10
   */
  readonly intensity?: number | undefined;
  /** @default 60_000 */
  readonly periodMs?: number | undefined;
  /**
   * The least time between two restarts of one service.
   * @default 30_000
   */
  readonly cooldownMs?: number | undefined;
  readonly backoff?: BackoffOptions | undefined;
  /**
   * A service that has been ready for so long is healthy: its failures are forgotten.
   * @default 60_000
   */
  readonly stableAfterMs?: number | undefined;
  /**
   * With `heartbeat`: how long a service may take from its start to its first beat. For an attempt: how much longer than
   * `stableAfterMs` it may be the probe of its circuit.
   * @default 30_000
   */
  readonly startGraceMs?: number | undefined;
  /** Restarts a service that does not call `beat()`. Off unless it is given. `stableAfterMs` must be more than it takes to notice that. */
  readonly heartbeat?: HeartbeatOptions | undefined;
  /**
   * How long a service may go on after it was aborted before it is left to itself.
   * @default 10_000
   */
  readonly stopTimeoutMs?: number | undefined;
  /**
   * Of the circuit breaker that each service has, named by its id unless there is a name; `false` for none. An attempt that fails with what its `isFailure` says is
   * none has told nothing about the service: the next is no restart.
   */
  readonly breaker?: CircuitBreakerOptions | false | undefined;
}

/** How long to wait after so many failures in a row. */
export interface BackoffOptions {
  /** @default 1_000 */
  readonly minMs?: number | undefined;
  /** @default 60_000 */
  readonly maxMs?: number | undefined;
  /** @default 2 */
  readonly factor?: number | undefined;
  /**
   * `full`: any time from 0 to what it comes to, so that those who failed together do not come back together.
   * @default 'full'
   */
  readonly jitter?: 'full' | 'none' | undefined;
}

export interface HeartbeatOptions {
  /** A beat is missed after so long. */
  readonly timeoutMs: number;
  /**
   * So many missed in a row restart the service.
   * @default 3
   */
  readonly misses?: number | undefined;
}

export interface RestartPolicy {
  readonly intensity: number;
  readonly periodMs: number;
  readonly cooldownMs: number;
  readonly stableAfterMs: number;
  readonly startGraceMs: number;
  readonly stopTimeoutMs: number;
  /** Infinite without a heartbeat. */
  readonly silenceMs: number;
  readonly breaker: CircuitBreakerOptions | false;
  isFailure(error: unknown): boolean;
  /** @param failures in a row, from 1 */
  backoffMs(failures: number): number;
}

export function resolveOptions(options: SupervisorOptions): RestartPolicy {
  const known = ['intensity', 'periodMs', 'cooldownMs', 'backoff', 'stableAfterMs', 'startGraceMs', 'heartbeat'];
  checkKnown('Supervisor', options, [...known, 'stopTimeoutMs', 'breaker']);
  const { breaker = {}, heartbeat } = options;
  const isFailure = breaker === false ? () => true : shieldedFailure(checkBreaker(breaker));
  const policy: RestartPolicy = {
    intensity: checkNumber('intensity', options.intensity ?? 10, { integer: true, min: 1 }),
    periodMs: checkPositive('periodMs', options.periodMs ?? 60_000),
    cooldownMs: checkNumber('cooldownMs', options.cooldownMs ?? 30_000),
    stableAfterMs: checkNumber('stableAfterMs', options.stableAfterMs ?? 60_000),
    startGraceMs: checkNumber('startGraceMs', options.startGraceMs ?? 30_000),
    stopTimeoutMs: checkNumber('stopTimeoutMs', options.stopTimeoutMs ?? 10_000),
    silenceMs: heartbeat === undefined ? Number.POSITIVE_INFINITY : resolveHeartbeat(heartbeat),
    breaker: breaker === false ? false : { ...breaker, isFailure },
    isFailure,
    backoffMs: resolveBackoff(options.backoff ?? {}),
  };
  if (heartbeat) checkStable(policy);
  return policy;
}

function resolveHeartbeat(heartbeat: HeartbeatOptions): number {
  checkKnown('heartbeat', heartbeat, ['timeoutMs', 'misses']);
  const timeoutMs = checkPositive('heartbeat.timeoutMs', heartbeat.timeoutMs);
  return timeoutMs * checkNumber('heartbeat.misses', heartbeat.misses ?? 3, { integer: true, min: 1 });
}

/** Else one that hangs at once would be healthy each time before that is noticed, and its backoff would never grow. */
function checkStable({ stableAfterMs, silenceMs, startGraceMs }: RestartPolicy): void {
  const noticedMs = Math.max(silenceMs, startGraceMs);
  if (stableAfterMs > noticedMs) return;
  const why = `the ${noticedMs} ms after which a service that hangs is noticed (heartbeat.timeoutMs × misses, startGraceMs)`;
  throw new RangeError(`stableAfterMs must be more than ${why}, received ${stableAfterMs}`);
}

function checkBreaker(breaker: CircuitBreakerOptions): (error: unknown) => boolean {
  const { isFailure } = resolveBreaker(breaker);
  for (const name of ['slowCallMs', 'slowCallRate'] as const) {
    if (breaker[name] === undefined) continue;
    throw new TypeError(`breaker.${name} is for calls that are soon over; a service that runs for long is no slow one`);
  }
  return isFailure;
}

/** One that throws must not end the supervision: its error counts as a failure, and becomes an uncaught exception. */
function shieldedFailure(isFailure: (error: unknown) => boolean): (error: unknown) => boolean {
  return (error) => {
    let answer = true;
    shielded(() => {
      answer = isFailure(error);
    });
    return answer;
  };
}

function resolveBackoff(backoff: BackoffOptions): (failures: number) => number {
  checkKnown('backoff', backoff, ['minMs', 'maxMs', 'factor', 'jitter']);
  const minMs = checkNumber('backoff.minMs', backoff.minMs ?? 1_000, { max: Number.MAX_VALUE });
  const maxMs = checkNumber('backoff.maxMs', backoff.maxMs ?? Math.max(minMs, 60_000), {
    min: minMs,
    max: Number.MAX_VALUE,
  });
  const factor = checkNumber('backoff.factor', backoff.factor ?? 2, { min: 1, max: Number.MAX_VALUE });
  const jitter = checkOneOf('backoff.jitter', backoff.jitter ?? 'full', ['full', 'none']);
  return (failures) => {
    const ms = Math.min(minMs * factor ** (failures - 1), maxMs);
    return jitter === 'full' ? Math.random() * ms : ms;
  };
}
