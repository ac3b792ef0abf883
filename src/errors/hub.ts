import { HoldfastError } from './common.ts';

/** The source of a hub gave no byte in `startTimeoutMs`; it was closed. */
export class SourceStartTimeoutError extends HoldfastError {
  readonly code = 'HOLDFAST_SOURCE_START_TIMEOUT';
  override readonly retryable = true;

  constructor(name: string, timeoutMs: number) {
    super(`the source of ${name} gave no byte within ${timeoutMs} ms`);
  }
}

/** A live source gave no byte for `stallTimeoutMs`; it was closed. */
export class SourceStalledError extends HoldfastError {
  readonly code = 'HOLDFAST_SOURCE_STALLED';
  override readonly retryable = true;

  constructor(name: string, timeoutMs: number) {
    super(`the source of ${name} gave no byte for ${timeoutMs} ms`);
  }
}

/**
 * The source ended before it gave a byte. It is also the reason of the abort by which a hub closes a source that is over by
 * itself, live or not; `cause` is then the error it ended with, if there was one.
 */
export class SourceEndedError extends HoldfastError {
  readonly code = 'HOLDFAST_SOURCE_ENDED';
  override readonly retryable = true;

  constructor(name: string, over?: { readonly cause: unknown }) {
    if (over) super(`the source of ${name} is over`, over.cause === undefined ? undefined : over);
    else super(`the source of ${name} ended without a byte`);
  }
}

/** The hub has `maxSubscribers` already. */
export class SubscriberLimitError extends HoldfastError {
  readonly code = 'HOLDFAST_SUBSCRIBER_LIMIT';
  override readonly retryable = true;

  constructor(name: string, maxSubscribers: number) {
    super(`${name} has ${maxSubscribers} subscribers already, its limit (maxSubscribers)`);
  }
}

/** A subscriber was further behind the head than it may be; the others go on. */
export class SubscriberLaggedError extends HoldfastError {
  readonly code = 'HOLDFAST_SUBSCRIBER_LAGGED';
  override readonly retryable = true;
  /** How far behind it was, as far as this process can see: the kernel's buffers come on top. */
  readonly lagBytes: number;

  constructor(name: string, lagBytes: number, bound: string) {
    super(`a subscriber of ${name} lags: ${lagBytes} bytes behind, ${bound}`);
    this.lagBytes = lagBytes;
  }
}
