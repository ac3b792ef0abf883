import { HoldfastError } from './common.ts';

/** Which guard keeps a service from being restarted. */
export type RestartGuard = 'circuit-open' | 'cooldown' | 'storm' | 'backoff';

const GUARDS: Record<RestartGuard, string> = {
  'circuit-open': 'it failed too often, and its circuit is open',
  cooldown: 'it was restarted a moment ago (cooldownMs)',
  storm: 'too many services were restarted in the last moments (intensity, periodMs)',
  backoff: 'it has just failed (backoff)',
};

/** A service is not started again now. Nothing was started. `cause` is what it failed with last, if it did. */
export class RestartRefusedError extends HoldfastError {
  readonly code = 'HOLDFAST_RESTART_REFUSED';
  override readonly retryable = true;
  readonly id: string;
  readonly why: RestartGuard;
  declare readonly retryAfterMs: number;

  constructor(id: string, why: RestartGuard, retryAfterMs: number, cause?: unknown) {
    const message = `${id} is not started again for ${Math.ceil(retryAfterMs)} ms more: ${GUARDS[why]}`;
    super(message, cause === undefined ? undefined : { cause });
    this.id = id;
    this.why = why;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A service gave no sign of life for so long (`heartbeat`), from its start on or since its last one. It was aborted. */
export class HeartbeatTimeoutError extends HoldfastError {
  readonly code = 'HOLDFAST_HEARTBEAT_TIMEOUT';
  override readonly retryable = true;
  readonly id: string;

  constructor(id: string, silentMs: number, hasBeaten: boolean) {
    super(`${id} gave no sign of life for ${Math.round(silentMs)} ms${hasBeaten ? '' : ', since its start'}`);
    this.id = id;
  }
}

/**
 * What was to go on ended without an error: a permanent service, or what an attempt had opened; `cause` is then what its
 * `closed` gave, for a `ManagedChild` its `ChildExit`.
 */
export class ServiceEndedError extends HoldfastError {
  readonly code = 'HOLDFAST_SERVICE_ENDED';
  override readonly retryable = true;
  readonly id: string;

  /** @param end what the end of it gave */
  constructor(id: string, end?: { readonly reason: string }) {
    const message = `${id} ended by itself, which was not wanted`;
    if (end) super(`${message}: ${end.reason}`, { cause: end });
    else super(message);
    this.id = id;
  }
}

/** A service went on after it was aborted, for longer than it may (`stopTimeoutMs`); nobody waits for it any more. */
export class ServiceAbandonedError extends HoldfastError {
  readonly code = 'HOLDFAST_SERVICE_ABANDONED';
  readonly id: string;

  constructor(id: string, timeoutMs: number) {
    super(`${id} ignores its signal: it still runs ${timeoutMs} ms after it was aborted, and is left to itself`);
    this.id = id;
  }
}
