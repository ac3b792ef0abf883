import pRetry from 'p-retry';
import { AdmissionError, ClosedError } from '../errors.ts';

export interface Retries {
  readonly maxAttempts: number;
  /** Asked after each attempt that failed but the last. */
  isWorthMore(error: unknown): boolean;
  /** Waits before the attempt that follows; `attempt` is the one that failed, from 1. */
  backOff(attempt: number): Promise<void>;
}

/** Attempts it until it succeeds or is not worth more; what the last attempt threw is thrown as it is. */
export async function retrying<T>(attempt: (attempt: number) => Promise<T>, retries: Retries): Promise<T> {
  const { maxAttempts } = retries;
  try {
    return await attempt(1);
  } catch (error) {
    if (maxAttempts === 1 || !retries.isWorthMore(error)) throw error;
  }
  // pRetry has no function for its delay, takes errors alone and gives up on a TypeError.
  const again = async (retry: number) => {
    try {
      await retries.backOff(retry);
      return await attempt(retry + 1);
    } catch (error) {
      throw new Failure(error);
    }
  };
  const shouldRetry = ({ error }: { readonly error: Error }) => retries.isWorthMore((error as Failure).failure);
  try {
    return await pRetry(again, { retries: maxAttempts - 2, minTimeout: 0, factor: 1, shouldRetry });
  } catch (error) {
    throw (error as Failure).failure;
  }
}

/** What an attempt threw, whatever that is. */
class Failure extends Error {
  readonly failure: unknown;

  constructor(failure: unknown) {
    super();
    this.failure = failure;
  }
}

/** Whether an error says that the same may succeed later; what was refused at once is not tried again by itself. */
export function isRetryable(error: unknown): boolean {
  const isRefusal = error instanceof AdmissionError || error instanceof ClosedError;
  return !isRefusal && (error as { retryable?: unknown } | null | undefined)?.retryable === true;
}
