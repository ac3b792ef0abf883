import type { AudienceCounts } from './audience.ts';
import type { Reading } from './readings.ts';

export interface Limits {
  readonly maxStorms: number;
  readonly maxGrowth: number;
}

export interface Findings {
  readonly readings: readonly Reading[];
  readonly audience: AudienceCounts;
  readonly orphans: readonly number[];
  readonly recursionErrors: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** No more children than this may live at a time; infinite where the channels are somebody else's. */
  readonly maxChildren: number;
  /** When the publisher was not there any more. */
  readonly unreachableAt: number | undefined;
}

/** Less than this is no growth: a few connections, a few pages. */
const FREE_DESCRIPTORS = 20;
/** By then one that reads nothing has filled what the kernel and the hub keep for it. */
const SLOW_SECONDS = 300;
const FREE_BYTES = 24 * 2 ** 20;

/** What must not be; empty if all is well. */
export function complaints(findings: Findings, { maxStorms, maxGrowth }: Limits): string[] {
  const { readings, audience, orphans, recursionErrors, warmUpSeconds, seconds, maxChildren, unreachableAt } = findings;
  const children = readings.reduce((most, reading) => Math.max(most, reading.children), 0);
  const storms = (readings.at(-1)?.storms ?? 0) - (readings[0]?.storms ?? 0);
  const settled = readings.filter(({ at }) => at >= warmUpSeconds);
  const rss = growth(settled.map(({ rssBytes }) => rssBytes));
  const descriptors = growth(settled.map((reading) => reading.descriptors));
  return [
    ...(recursionErrors > 0 ? [`${recursionErrors} recursion errors`] : []),
    ...(storms >= maxStorms ? [`${storms} restart storms, ${maxStorms} are too many`] : []),
    ...(orphans.length > 0 ? [`${orphans.length} orphans: ${orphans.join(', ')}`] : []),
    ...(audience.lostBytes > 0 ? [`healthy viewers lost ${audience.lostBytes} bytes`] : []),
    ...(unreachableAt === undefined ? [] : [`the publisher was unreachable after ${unreachableAt.toFixed(0)} s`]),
    ...(children > maxChildren ? [`${children} children lived at a time, ${maxChildren} are enough`] : []),
    ...(audience.unanswered > 0 ? [`${audience.unanswered} viewers had no answer`] : []),
    ...(seconds > SLOW_SECONDS && audience.slowDropped === 0 ? ['no slow viewer was dropped'] : []),
    ...(audience.cut > 0 ? [`${audience.cut} healthy viewers were cut`] : []),
    ...(audience.equalBytes === 0 ? ['no viewer could be compared with another'] : []),
    ...(rss.by > FREE_BYTES && rss.ratio > maxGrowth
      ? [`the memory grew from ${mebibytes(rss.from)} to ${mebibytes(rss.to)}`]
      : []),
    ...(descriptors.by > FREE_DESCRIPTORS && descriptors.ratio > maxGrowth
      ? [`the descriptors grew from ${descriptors.from} to ${descriptors.to}`]
      : []),
  ];
}

/** What there was no time for, or nobody to ask. */
export function unjudged({ seconds, audience, maxChildren }: Findings): string[] {
  return [
    ...(seconds <= SLOW_SECONDS && audience.slowDropped === 0 ? [`slow viewers, in ${SLOW_SECONDS} s`] : []),
    ...(maxChildren === Number.POSITIVE_INFINITY ? ['children and orphans: the publisher is somebody else’s'] : []),
  ];
}

/** From the median of the first third to that of the last. */
function growth(values: readonly number[]): { from: number; to: number; by: number; ratio: number } {
  const third = Math.max(1, Math.floor(values.length / 3));
  const [from, to] = [median(values.slice(0, third)), median(values.slice(-third))];
  return { from, to, by: to - from, ratio: to / Math.max(1, from) };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
