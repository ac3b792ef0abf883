import { CircuitBreaker, type Permit } from '../circuit-breaker/circuit-breaker.ts';
import type { RestartGuard } from '../errors.ts';
import { NOTHING } from '../internal/abort.ts';
import { after, now } from '../internal/time.ts';
import type { RestartPolicy } from './options.ts';
import { StormThrottle } from './storm-throttle.ts';

/** Which guard keeps a service from being started now, and for how long at least. */
export interface Refusal {
  readonly allowed: false;
  readonly why: RestartGuard;
  readonly retryAfterMs: number;
}

/** Whether a service may be started again now. */
export type RestartVerdict = { readonly allowed: true } | Refusal;

/** What comes of asking for a run. */
export type RunVerdict = { readonly allowed: true; readonly permission: Permission } | Refusal;

const ALLOWED: RestartVerdict = { allowed: true };

/** What the guards tell of. */
export interface GuardListener {
  begun(id: string, isRestart: boolean): void;
  refused(id: string, refusal: Refusal): void;
  failed(id: string, error: unknown): void;
  storm(retryAfterMs: number): void;
  resumed(): void;
  /** Nothing is known of it any more. */
  forgotten(id: string): void;
}

/** What is known of a service. */
interface ServiceRecord {
  readonly breaker: CircuitBreaker | undefined;
  /** Whether the next start follows an ending that was not wanted. */
  isRestart: boolean;
  restartedAt: number;
  /** In a row, since it was last healthy. */
  failures: number;
  /** Until then it backs off. */
  notBefore: number;
  /** What it failed with last. */
  lastError: unknown;
}

/** That a service may run once, and what becomes of that: the first of `failed` and `ended` counts. */
export interface Permission {
  /** From 1; one more than there were before it that failed in a row. */
  readonly attempt: number;
  readonly isRestart: boolean;
  /** It does what it is for. `stableAfterMs` later it is healthy, unless it has ended or is to end by then. */
  ready(signal: AbortSignal): void;
  /** It ended, and was not meant to. */
  failed(error: unknown): void;
  /** It ended as it was meant to: the next is no restart. */
  ended(): void;
}

/**
 * Decides when a service may be started again: breaker, cooldown, storm and backoff, in this order. It remembers each service
 * by its id until it is to forget it.
 */
export class RestartGuards {
  readonly #policy: RestartPolicy;
  readonly #listener: GuardListener;
  readonly #records = new Map<string, ServiceRecord>();
  readonly #throttle: StormThrottle;
  #calming: Disposable | undefined;

  constructor(policy: RestartPolicy, listener: GuardListener) {
    this.#policy = policy;
    this.#listener = listener;
    this.#throttle = new StormThrottle(policy.intensity, policy.periodMs);
  }

  /** Whether it may be started. */
  canStart(id: string): RestartVerdict {
    const { breaker, isRestart, ...record } = this.#records.get(id) ?? FRESH;
    if (breaker?.canRun() === false) return refusal('circuit-open', breaker.retryAfterMs);
    return isRestart ? this.#canRestart(record) : ALLOWED;
  }

  /** Whether a run that goes on may be ended for another; it may be the probe itself. */
  canReplace(id: string): RestartVerdict {
    const { breaker, ...record } = this.#records.get(id) ?? FRESH;
    if (breaker?.state === 'open') return refusal('circuit-open', breaker.retryAfterMs);
    return this.#canRestart(record);
  }

  #canRestart({ restartedAt, notBefore }: Pick<ServiceRecord, 'restartedAt' | 'notBefore'>): RestartVerdict {
    const instant = now();
    return (
      waiting('cooldown', restartedAt + this.#policy.cooldownMs - instant) ??
      waiting('storm', this.#throttle.untilNext(instant)) ??
      waiting('backoff', notBefore - instant) ??
      ALLOWED
    );
  }

  /**
   * Begins a run, or tells why not.
   *
   * @param probeMs how long it may take to be healthy or to end, if it is to be the probe of a circuit
   */
  begin(id: string, probeMs: number): RunVerdict {
    const verdict = this.canStart(id);
    if (!verdict.allowed) return this.#refuse(id, verdict);
    const record = this.#recordOf(id);
    return this.#begin(id, record, record.isRestart, probeMs);
  }

  /** Begins the run that follows one which goes on and is to be ended for it, or tells why not. */
  replace(id: string, former: Permission, probeMs: number): RunVerdict {
    const verdict = this.canReplace(id);
    if (!verdict.allowed) return this.#refuse(id, verdict);
    former.ended();
    return this.#begin(id, this.#recordOf(id), true, probeMs);
  }

  /** What it failed with last; undefined if it is not known to have failed. */
  lastErrorOf(id: string): unknown {
    return this.#records.get(id)?.lastError;
  }

  #refuse(id: string, refusal: Refusal): Refusal {
    this.#listener.refused(id, refusal);
    return refusal;
  }

  #begin(id: string, record: ServiceRecord, isRestart: boolean, probeMs: number): RunVerdict {
    const permit = record.breaker?.tryEnter({ timeoutMs: probeMs });
    record.isRestart = false;
    const isStorm = isRestart && this.#countRestart(record);
    this.#listener.begun(id, isRestart);
    if (isStorm) this.#storm();
    return { allowed: true, permission: this.#permit(id, record, isRestart, permit) };
  }

  #permit(id: string, record: ServiceRecord, isRestart: boolean, probe: Permit | undefined): Permission {
    let isHealthy = false;
    let isOver = false;
    let stable: Disposable = NOTHING;
    const healthy = () => {
      isHealthy = true;
      record.failures = 0;
      probe?.succeed();
    };
    const over = () => {
      isOver = true;
      stable[Symbol.dispose]();
    };
    return {
      attempt: record.failures + 1,
      isRestart,
      ready: (signal) => {
        if (isOver) return;
        stable = after(this.#policy.stableAfterMs, () => signal.aborted || healthy(), { idle: true });
      },
      failed: (error) => {
        if (isOver) return;
        over();
        record.isRestart = true;
        record.failures++;
        record.lastError = error;
        record.notBefore = now() + this.#policy.backoffMs(record.failures);
        this.#count(record, isHealthy ? undefined : probe, error);
        this.#listener.failed(id, error);
      },
      ended: () => {
        over();
        probe?.cancel();
      },
    };
  }

  /** A run that was healthy is no probe any more; where others are to be, its end is one that failed. */
  #count({ breaker }: ServiceRecord, probe: Permit | undefined, error: unknown): void {
    const permit = probe ?? (breaker?.canRun() ? breaker.tryEnter() : undefined);
    permit?.fail(error);
  }

  /** Returns whether a storm begins with it. */
  #countRestart(record: ServiceRecord): boolean {
    record.restartedAt = now();
    return this.#throttle.add(record.restartedAt);
  }

  #storm(): void {
    if (this.#calming) this.#resume();
    this.#listener.storm(this.#throttle.untilNext(now()));
    this.#awaitCalm();
  }

  #awaitCalm(): void {
    const leftMs = this.#throttle.untilCalm(now());
    if (leftMs === 0) this.#resume();
    else this.#calming = after(leftMs, () => this.#awaitCalm(), { idle: true });
  }

  #resume(): void {
    this.#calming?.[Symbol.dispose]();
    this.#calming = undefined;
    this.#listener.resumed();
  }

  forget(id: string): void {
    const record = this.#records.get(id);
    if (!record) return;
    record.breaker?.[Symbol.dispose]();
    this.#records.delete(id);
    this.#listener.forgotten(id);
  }

  /** Forgets all, and ends its timer. */
  [Symbol.dispose](): void {
    this.#calming?.[Symbol.dispose]();
    for (const id of this.#records.keys()) this.forget(id);
  }

  #recordOf(id: string): ServiceRecord {
    const known = this.#records.get(id);
    if (known) return known;
    const { breaker } = this.#policy;
    const record = {
      ...FRESH,
      breaker: breaker === false ? undefined : new CircuitBreaker({ ...breaker, name: breaker.name ?? id }),
    };
    this.#records.set(id, record);
    return record;
  }
}

const FRESH: ServiceRecord = {
  breaker: undefined,
  isRestart: false,
  restartedAt: Number.NEGATIVE_INFINITY,
  failures: 0,
  notBefore: Number.NEGATIVE_INFINITY,
  lastError: undefined,
};

function waiting(why: RestartGuard, leftMs: number): Refusal | undefined {
  return leftMs > 0 ? refusal(why, leftMs) : undefined;
}

function refusal(why: RestartGuard, retryAfterMs: number): Refusal {
  return { allowed: false, why, retryAfterMs };
}
