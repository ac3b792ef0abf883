import { HoldfastError } from 'holdfast';

/** A guide that can't be used, or can't be had; the one before stays. */
export class GuideError extends HoldfastError {
  readonly code = 'PUBLISHER_GUIDE';
  override readonly retryable = true;
}
