import { inspectTransportStream } from './transport-stream.ts';

/** The rules of RFC 8216 for a live playlist and its segments, judged without any code of the publisher. */

export interface PlaylistSegment {
  readonly sequence: number;
  readonly uri: string;
  readonly duration: number;
  readonly isDiscontinuous: boolean;
  /** Its discontinuity sequence number. */
  readonly discontinuity: number;
  readonly startsAt: number | undefined;
}

export interface MediaPlaylist {
  readonly target: number;
  readonly segments: readonly PlaylistSegment[];
}

/** @throws for what is no media playlist. */
export function parseMediaPlaylist(text: string): MediaPlaylist {
  const lines = text.split('\n');
  if (lines[0] !== '#EXTM3U' || lines.at(-1) !== '') throw new Error(`no playlist:\n${text}`);
  const target = Number(only(lines, '#EXT-X-TARGETDURATION:'));
  if (Number(only(lines, '#EXT-X-VERSION:')) < 3) throw new Error('decimal durations need version 3');
  if (!Number.isInteger(target)) throw new Error(`the target duration ${target} is no integer`);
  let sequence = Number(only(lines, '#EXT-X-MEDIA-SEQUENCE:'));
  let discontinuity = Number(only(lines, '#EXT-X-DISCONTINUITY-SEQUENCE:'));
  const segments: PlaylistSegment[] = [];
  let [duration, isDiscontinuous, startsAt] = [undefined as number | undefined, false, undefined as number | undefined];
  for (const line of lines.slice(1, -1)) {
    if (line.startsWith('#EXTINF:')) duration = Number(/^#EXTINF:([\d.]+),/.exec(line)?.[1]);
    else if (line === '#EXT-X-DISCONTINUITY') isDiscontinuous = true;
    else if (line.startsWith('#EXT-X-PROGRAM-DATE-TIME:')) startsAt = Date.parse(line.slice(line.indexOf(':') + 1));
    else if (!line.startsWith('#')) {
      if (duration === undefined || Number.isNaN(duration)) throw new Error(`${line} has no duration`);
      if (isDiscontinuous) discontinuity++;
      segments.push({ sequence: sequence++, uri: line, duration, isDiscontinuous, discontinuity, startsAt });
      [duration, isDiscontinuous, startsAt] = [undefined, false, undefined];
    }
  }
  return { target, segments };
}

/** The value of a tag that must be there once, and before the first segment. */
function only(lines: readonly string[], tag: string): string {
  const found = lines.filter((line) => line.startsWith(tag));
  const at = lines.findIndex((line) => line.startsWith(tag));
  const first = lines.findIndex((line) => line !== '' && (!line.startsWith('#') || line === '#EXT-X-DISCONTINUITY'));
  if (found.length !== 1 || (first >= 0 && at > first))
    throw new Error(`${tag} is there ${found.length} times, at ${at}`);
  return (found[0] as string).slice(tag.length);
}

/** What is wrong with the playlists of one address, in the order in which they were got. */
export function violationsOf(playlists: readonly MediaPlaylist[]): string[] {
  const wrong: string[] = [];
  const seen = new Map<number, PlaylistSegment>();
  const sequences = new Map<string, number>();
  let last: MediaPlaylist | undefined;
  for (const playlist of playlists) {
    const { target, segments } = playlist;
    const [first] = segments;
    if (!first) wrong.push('a playlist without a segment');
    if (last && last.target !== target) wrong.push(`the target duration went from ${last.target} to ${target}`);
    const before = last?.segments[0];
    if (first && before && first.sequence < before.sequence) wrong.push(`the sequence went back to ${first.sequence}`);
    if (last && (segments.at(-1)?.sequence ?? 0) < (last.segments.at(-1)?.sequence ?? 0)) wrong.push('it lost its end');
    const length = segments.reduce((sum, { duration }) => sum + duration, 0);
    if (first && before && first.sequence > before.sequence && length < 3 * target) {
      wrong.push(`a segment was removed though only ${length} s are left, with a target duration of ${target}`);
    }
    for (const segment of segments) {
      const { sequence, uri, duration } = segment;
      if (Math.round(duration) > target) wrong.push(`${uri} lasts ${duration} s of ${target}`);
      const known = seen.get(sequence);
      if (known && JSON.stringify(known) !== JSON.stringify(segment)) {
        wrong.push(`${JSON.stringify(known)} became ${JSON.stringify(segment)}`);
      }
      if ((sequences.get(uri) ?? sequence) !== sequence)
        wrong.push(`${uri} was ${sequences.get(uri)} and is ${sequence}`);
      seen.set(sequence, segment);
      sequences.set(uri, sequence);
    }
    last = playlist;
  }
  return [...wrong, ...timesAgainst([...seen.values()])];
}

/** What is played after another is on the air when that ends. */
function timesAgainst(segments: readonly PlaylistSegment[]): string[] {
  return segments.flatMap(({ sequence, startsAt, isDiscontinuous, uri }) => {
    const before = segments.find((segment) => segment.sequence === sequence - 1);
    if (startsAt === undefined) return [`${uri} has no time`];
    if (!before || isDiscontinuous || before.startsAt === undefined) return [];
    const gap = startsAt - before.startsAt - before.duration * 1_000;
    return Math.abs(gap) > 20 ? [`${uri} begins ${gap} ms after the end of the one before`] : [];
  });
}

export interface FetchedSegment extends Pick<PlaylistSegment, 'uri' | 'duration' | 'isDiscontinuous' | 'sequence'> {
  readonly bytes: Buffer;
}

/** What is wrong with segments that follow each other: their tables, key frames, continuity, and durations. */
export function contentViolationsOf(segments: readonly FetchedSegment[]): string[] {
  const wrong = segments.flatMap((segment) => beginViolations(segment));
  let run: FetchedSegment[] = [];
  for (const [index, segment] of segments.entries()) {
    const before = segments[index - 1];
    const goesOn = before !== undefined && !segment.isDiscontinuous && before.sequence === segment.sequence - 1;
    if (!goesOn) wrong.push(...continuityViolations(run));
    run = goesOn ? [...run, segment] : [segment];
    if (!goesOn) continue;
    const shown = secondsBetween(firstPicture(before.bytes).pts, firstPicture(segment.bytes).pts);
    if (Math.abs(shown - before.duration) > 0.001)
      wrong.push(`${before.uri} lasts ${shown} s and says ${before.duration}`);
  }
  return [...wrong, ...continuityViolations(run)];
}

function continuityViolations(run: readonly FetchedSegment[]): string[] {
  const bytes = Buffer.concat(run.map((segment) => segment.bytes));
  const { syncErrors, continuityErrors } = inspectTransportStream(bytes);
  const where = `${run[0]?.uri} to ${run.at(-1)?.uri}`;
  return syncErrors + continuityErrors > 0
    ? [`${where}: ${syncErrors} sync, ${continuityErrors} continuity errors`]
    : [];
}

function beginViolations({ uri, bytes }: FetchedSegment): string[] {
  if (bytes.length % 188 !== 0) return [`${uri} is not whole packets`];
  const { programs, mapPid } = associationOf(bytes);
  const picture = firstPicture(bytes);
  return [
    ...(pidAt(bytes, 0) === 0 ? [] : [`${uri} does not begin with an association table`]),
    ...(programs === 1 ? [] : [`${uri} has ${programs} programs`]),
    ...(pidAt(bytes, 188) === mapPid ? [] : [`${uri} has no map table after the association table`]),
    ...(picture.isKey ? [] : [`${uri} does not begin with a key frame`]),
    ...(picture.at <= 188 * 3 ? [] : [`${uri} has something before its first picture`]),
  ];
}

function associationOf(bytes: Buffer): { programs: number; mapPid: number } {
  const section = bytes.subarray(5 + (bytes[4] as number), 188);
  const programs = (section.readUInt16BE(1) - 0xb000 - 9) / 4;
  return { programs, mapPid: section.readUInt16BE(10) & 0x1fff };
}

/** Of the first packet of an elementary stream of video: where it is, when it is shown, whether it is marked. */
export function firstPicture(bytes: Buffer): { at: number; pts: number; isKey: boolean } {
  for (let at = 0; at + 188 <= bytes.length; at += 188) {
    const hasAdaptation = ((bytes[at + 3] as number) & 0x20) !== 0;
    const payloadAt = at + 4 + (hasAdaptation ? 1 + (bytes[at + 4] as number) : 0);
    const isStart = ((bytes[at + 1] as number) & 0x40) !== 0;
    const isVideo =
      isStart && bytes.readUIntBE(payloadAt, 3) === 1 && ((bytes[payloadAt + 3] as number) & 0xf0) === 0xe0;
    if (!isVideo) continue;
    const isKey = hasAdaptation && (bytes[at + 4] as number) > 0 && ((bytes[at + 5] as number) & 0x40) !== 0;
    const time = [0, 1, 2, 3, 4].map((index) => BigInt(bytes[payloadAt + 9 + index] as number)) as bigint[];
    const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n] = time;
    const pts = (((a >> 1n) & 7n) << 30n) | ((((b << 8n) | c) >> 1n) << 15n) | (((d << 8n) | e) >> 1n);
    return { at, pts: Number(pts), isKey };
  }
  return { at: Number.POSITIVE_INFINITY, pts: 0, isKey: false };
}

function pidAt(bytes: Buffer, at: number): number {
  return bytes.readUInt16BE(at + 1) & 0x1fff;
}

function secondsBetween(from: number, to: number): number {
  return ((to - from + 2 ** 33) % 2 ** 33) / 90_000;
}
