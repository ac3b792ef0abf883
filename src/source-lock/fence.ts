import { wallClock } from '../internal/time.ts';

/** The fence of the tenure after that of `last`: it grows also when the clock was set back. */
export function fenceAfter(last: bigint): bigint {
  const microseconds = BigInt(wallClock().getTime()) * 1000n;
  return microseconds > last ? microseconds : last + 1n;
}
