import { AcquireTimeoutError, type ProcessPool, WaiterLimitError } from 'holdfast';
import { PublisherFullError } from '../errors.ts';

/** When a viewer who finds every process taken may try again. */
const FULL_RETRY_MS = 10_000;

/** A `PublisherFullError` if an acquire failed because the pool is full, else the error itself. */
export function fullPoolErrorOr(error: unknown, pool: ProcessPool): unknown {
  if (!isOfFullPool(error)) return error;
  const { max, active, starting } = pool.stats();
  const why =
    active + starting >= max ? `runs ${max} processes already (--max-processes)` : 'starts too many processes at once';
  return new PublisherFullError(why, FULL_RETRY_MS, error);
}

/** It may have had a process at last, but too late to be given up for that it took too long. */
function isOfFullPool(error: unknown): boolean {
  if (error instanceof AcquireTimeoutError) return error.queuedMs > error.waitedMs / 2;
  return error instanceof WaiterLimitError;
}
