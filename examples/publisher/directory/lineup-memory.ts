import type { LineupChannel } from '../../hdhomerun/index.ts';

/** A channel that is missing is believed to be gone when it has been so in so many lineups in a row. */
const READS_TO_BELIEVE = 3;
/** If more than half are missing at once, something is wrong rather than gone, mostly: with a read each 10 s, 10 minutes. */
const READS_TO_BELIEVE_MANY = 60;

/** A channel of a lineup, and since how many reads it is missing there. */
export interface Remembered {
  readonly channel: LineupChannel;
  readonly missing: number;
}

/**
 * The lineup after one more read of it. A device that scans has lost nothing yet; what a lineup no longer has otherwise
 * stays for a few more reads, and for many if it is the greater part: by then it is no slip of the device.
 */
export function remember(
  before: readonly Remembered[],
  read: readonly LineupChannel[],
  isScanning: boolean,
): readonly Remembered[] {
  const numbers = new Set(read.map(({ number }) => number));
  const absent = before.filter(({ channel }) => !numbers.has(channel.number));
  const limit = absent.length > before.length / 2 ? READS_TO_BELIEVE_MANY : READS_TO_BELIEVE;
  const stay = absent
    .map(({ channel, missing }) => ({ channel, missing: isScanning ? missing : missing + 1 }))
    .filter(({ missing }) => missing < limit);
  return [...read.map((channel) => ({ channel, missing: 0 })), ...stay];
}
