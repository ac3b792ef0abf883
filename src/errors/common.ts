/** What all errors of this package have in common. */
export abstract class HoldfastError extends Error {
  /** Stable and unique to the class. */
  abstract readonly code: string;
  /** Whether the same call may succeed later without a change of its arguments. */
  readonly retryable: boolean = false;
  /** In how many milliseconds a retry makes sense, where that is known. */
  declare readonly retryAfterMs?: number;

  override get name(): string {
    return this.constructor.name;
  }
}

/** The object was closed; the call has no effect. */
export class ClosedError extends HoldfastError {
  readonly code = 'HOLDFAST_CLOSED';

  /** @param state where `closed` would tell something else */
  constructor(what: string, cause?: unknown, state = 'closed') {
    super(`${what} is ${state}`, cause === undefined ? undefined : { cause });
  }
}
