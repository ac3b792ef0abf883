import type { ListedSegment } from './segment-ring.ts';

export const PLAYLIST_TYPE = 'application/vnd.apple.mpegurl';
export const SEGMENT_TYPE = 'video/mp2t';

/**
 * The segments of one rendition (RFC 8216, 4.3.3). Their addresses are beside the playlist's.
 *
 * @param query of each address; a segment is the same whatever it is
 */
export function mediaPlaylist(segments: readonly ListedSegment[], targetSeconds: number, query = ''): string {
  const [first] = segments;
  const before = first ? first.discontinuities - (first.isDiscontinuous ? 1 : 0) : 0;
  return lines([
    '#EXTM3U',
    '#EXT-X-VERSION:3',
    `#EXT-X-TARGETDURATION:${targetSeconds}`,
    `#EXT-X-MEDIA-SEQUENCE:${first?.sequence ?? 0}`,
    `#EXT-X-DISCONTINUITY-SEQUENCE:${before}`,
    ...segments.flatMap((segment) => entryOf(segment, query)),
  ]);
}

function entryOf({ sequence, durationSeconds, isDiscontinuous, startsAt }: ListedSegment, query: string): string[] {
  return [
    ...(isDiscontinuous ? ['#EXT-X-DISCONTINUITY'] : []),
    `#EXT-X-PROGRAM-DATE-TIME:${new Date(startsAt).toISOString()}`,
    `#EXTINF:${durationSeconds.toFixed(5)},`,
    segmentName(sequence) + query,
  ];
}

export interface Variant {
  readonly uri: string;
  readonly peakBandwidth: number;
  readonly averageBandwidth: number;
}

/** The one rendition that was asked for: some players open all that are listed, and each would be a process. */
export function multivariantPlaylist({ uri, peakBandwidth, averageBandwidth }: Variant): string {
  const bandwidths = `BANDWIDTH=${peakBandwidth},AVERAGE-BANDWIDTH=${averageBandwidth}`;
  return lines(['#EXTM3U', '#EXT-X-VERSION:3', `#EXT-X-STREAM-INF:${bandwidths}`, uri]);
}

/** Of this process: a cache must not take a segment for one that had its number before a restart. */
const INSTANCE = Date.now().toString(36);

function segmentName(sequence: number): string {
  return `${INSTANCE}-${sequence}.ts`;
}

/** The sequence number of a segment by its name; undefined if it is none of this process. */
export function sequenceOf(name: string): number | undefined {
  const [, instance, digits] = /^([0-9a-z]{1,12})-(\d{1,15})\.ts$/.exec(name) ?? [];
  return instance === INSTANCE ? Number(digits) : undefined;
}

function lines(all: readonly string[]): string {
  return `${all.join('\n')}\n`;
}
