import { LeaseExpiredError } from '../errors.ts';
import type { Lease } from '../internal/hold.ts';
import { now } from '../internal/time.ts';
import type { Settings } from './options.ts';

/** When the first of them ends, by `now()`. */
export function firstDeadline(leases: readonly Lease[]): number {
  return Math.min(...leases.map((lease) => lease.deadline));
}

/** Nothing may be started under a lease that has ended. */
export function checkLeases({ command, leases }: Settings): void {
  for (const lease of leases) lease.signal.throwIfAborted();
  const ageMs = now() - firstDeadline(leases);
  if (ageMs >= 0) throw new LeaseExpiredError(command, ageMs);
}
