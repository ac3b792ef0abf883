import { checkKnown, checkNumber, checkPositive } from '../internal/options.ts';
import type { Limits } from './ledger.ts';

/** How many tokens there are, and how fast they come. */
export interface TokenBucketOptions {
  /** How many tokens it holds at most, which is the largest burst. More than 0; need not be whole. */
  readonly capacity: number;
  /** Tokens that come a second, evenly: 0.1 is one in ten seconds. More than 0. */
  readonly refillPerSecond: number;
  /**
   * Tokens that are there at first, 0 to `capacity`.
   * @default capacity
   */
  readonly initial?: number | undefined;
  /**
   * How many may wait at a time; one more is refused with `WaiterLimitError`.
   * @default 10_000
   */
  readonly maxWaiters?: number | undefined;
}

export interface BucketLimits extends Limits {
  readonly maxWaiters: number;
}

export function resolveOptions(options: TokenBucketOptions): BucketLimits {
  checkKnown('TokenBucket', options, ['capacity', 'refillPerSecond', 'initial', 'maxWaiters']);
  const capacity = checkPositive('capacity', options.capacity);
  const refillPerSecond = checkPositive('refillPerSecond', options.refillPerSecond);
  return {
    capacity,
    refillPerSecond,
    initial: checkNumber('initial', options.initial ?? capacity, { max: capacity }),
    maxWaiters: checkNumber('maxWaiters', options.maxWaiters ?? 10_000, { integer: true }),
  };
}
