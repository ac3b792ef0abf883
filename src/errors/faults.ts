import { SpawnTimeoutError } from './control.ts';
import { SourceEndedError, SourceStalledError, SourceStartTimeoutError } from './hub.ts';

const FAULTS = [SourceStartTimeoutError, SourceStalledError, SourceEndedError, SpawnTimeoutError];

/** Whether the reason of an abort tells of a fault of what was aborted, such as that it took too long, and of no wish of its caller. */
export function isFault(reason: unknown): boolean {
  if (reason instanceof DOMException) return reason.name === 'TimeoutError';
  return FAULTS.some((kind) => reason instanceof kind);
}
