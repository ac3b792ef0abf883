import type { LineupChannel } from '../../hdhomerun/index.ts';

/** A channel that is missing is believed to be gone after so long: in the third lineup, with a read each 10 s. */
const BELIEVED_AFTER_MS = 20_000;
/** If more than half are missing at once, something is wrong rather than gone, mostly. */
const MANY_BELIEVED_AFTER_MS = 590_000;
/** No more than this counts between two lineups: of a time without any nothing is known. */
const LONGEST_BETWEEN_MS = 10_000;

/** A channel of a lineup, and since how long it is missing there, if it is. */
export interface Remembered {
  readonly channel: LineupChannel;
  readonly missingMs?: number | undefined;
}

export interface LineupRead {
  readonly channels: readonly LineupChannel[];
  readonly isScanning: boolean;
  /** Since the read before. */
  readonly sinceMs: number;
}

/**
 * The lineup after one more read of it. A device that scans has lost nothing yet; what a lineup no longer has otherwise
 * stays for a while, however often it is read, and for long if it is the greater part: by then it is no slip of the device.
 */
export function remember(before: readonly Remembered[], read: LineupRead): readonly Remembered[] {
  const numbers = new Set(read.channels.map(({ number }) => number));
  const absent = before.filter(({ channel }) => !numbers.has(channel.number));
  const limitMs = absent.length > before.length / 2 ? MANY_BELIEVED_AFTER_MS : BELIEVED_AFTER_MS;
  const stay = absent.map((each) => (read.isScanning ? each : missingLonger(each, read.sinceMs)));
  return [...read.channels.map((channel) => ({ channel })), ...stay.filter(({ missingMs = 0 }) => missingMs < limitMs)];
}

function missingLonger({ channel, missingMs }: Remembered, sinceMs: number): Remembered {
  return { channel, missingMs: missingMs === undefined ? 0 : missingMs + Math.min(sinceMs, LONGEST_BETWEEN_MS) };
}
