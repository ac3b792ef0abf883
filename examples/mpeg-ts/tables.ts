/** The two tables without which a player knows nothing of a stream (ISO/IEC 13818-1, 2.4.4), as far as one packet has them. */

export const PAT_PID = 0;

const PAT_ID = 0x00;
const PMT_ID = 0x02;
const CRC_BYTES = 4;

/** How the first picture of a group begins, for encoders that do not mark it as a random access point. */
type BeginOfGroup = (startCode: number) => boolean;

const isNothing: BeginOfGroup = () => false;
/** The byte after a start code: a sequence header, a sequence parameter set, a video parameter set. */
const MPEG2: BeginOfGroup = (code) => code === 0xb3;
const H264: BeginOfGroup = (code) => (code & 0x1f) === 7;
const HEVC: BeginOfGroup = (code) => ((code >> 1) & 0x3f) === 32;

/** By stream type; those that are here are video. */
const VIDEO: ReadonlyMap<number, BeginOfGroup> = new Map([
  [0x01, MPEG2],
  [0x02, MPEG2],
  [0x10, isNothing],
  [0x1b, H264],
  [0x24, HEVC],
  [0x33, isNothing],
  [0x42, isNothing],
  [0xea, isNothing],
]);

/** What is known of an elementary stream by its type. */
export interface ElementaryStream {
  readonly isVideo: boolean;
  readonly beginsGroup: BeginOfGroup;
}

/** The PIDs of the program map tables. `undefined` if this is no association table. */
export function programsOf(payload: Buffer): Set<number> | undefined {
  const section = sectionOf(payload, PAT_ID);
  if (!section) return undefined;
  const pids = new Set<number>();
  for (let at = 8; at + 4 <= section.length; at += 4) {
    // Program 0 is the network, not one to watch.
    if (section.readUInt16BE(at) !== 0) pids.add(section.readUInt16BE(at + 2) & 0x1fff);
  }
  return pids;
}

/** The elementary streams of a program by their PIDs. `undefined` if this is no map table. */
export function streamsOf(payload: Buffer): Map<number, ElementaryStream> | undefined {
  const section = sectionOf(payload, PMT_ID);
  if (!section || section.length < 12) return undefined;
  const streams = new Map<number, ElementaryStream>();
  let at = 12 + (section.readUInt16BE(10) & 0x0fff);
  while (at + 5 <= section.length) {
    const beginsGroup = VIDEO.get(section[at] as number);
    const pid = section.readUInt16BE(at + 1) & 0x1fff;
    streams.set(pid, { isVideo: beginsGroup !== undefined, beginsGroup: beginsGroup ?? isNothing });
    at += 5 + (section.readUInt16BE(at + 3) & 0x0fff);
  }
  return streams;
}

/** The section that begins in a packet, if it counts already, without its checksum; a long one as far as the packet has it. */
function sectionOf(payload: Buffer, tableId: number): Buffer | undefined {
  const section = payload.subarray(1 + (payload[0] ?? 0));
  if (section.length < 8 || section[0] !== tableId) return undefined;
  const isCurrent = ((section[5] as number) & 1) === 1;
  if (!isCurrent) return undefined;
  const length = 3 + (section.readUInt16BE(1) & 0x0fff);
  return section.subarray(0, length - CRC_BYTES);
}
