import type { Packet } from './packet.ts';
import { type Section, SectionReader } from './section-reader.ts';

const PAT_PID = 0;
const PAT_ID = 0x00;
const PMT_ID = 0x02;

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

/** By stream type, for people. */
const CODECS: ReadonlyMap<number, string> = new Map([
  ...([
    [0x01, 'MPEG-1 video'],
    [0x02, 'MPEG-2 video'],
    [0x10, 'MPEG-4 video'],
    [0x1b, 'H.264'],
    [0x24, 'HEVC'],
    [0x33, 'VVC'],
    [0x42, 'AVS video'],
    [0xea, 'VC-1'],
  ] as const),
  ...([
    [0x03, 'MPEG audio'],
    [0x04, 'MPEG audio'],
    [0x0f, 'AAC'],
    [0x11, 'AAC in LATM'],
    [0x81, 'AC-3'],
    [0x82, 'DTS'],
    [0x86, 'DTS'],
    [0x87, 'E-AC-3'],
  ] as const),
]);

/** Private data, whose descriptors tell what it is: so DVB carries sound that MPEG has no type for (EN 300 468, annex D). */
const PRIVATE = 0x06;
const DESCRIBED: ReadonlyMap<number, string> = new Map([
  [0x6a, 'AC-3'],
  [0x7a, 'E-AC-3'],
  [0x7b, 'DTS'],
  [0x7c, 'AAC'],
]);
const REGISTRATION = 0x05;
const REGISTERED: ReadonlyMap<string, string> = new Map([
  ['AC-3', 'AC-3'],
  ['EAC3', 'E-AC-3'],
  ['DTS1', 'DTS'],
  ['DTS2', 'DTS'],
  ['DTS3', 'DTS'],
  ['Opus', 'Opus'],
]);

/** What is known of an elementary stream by its type and its descriptors. */
export interface ElementaryStream {
  /** What it holds, as the map table says it. */
  readonly type: number;
  /** The same by name; undefined for data, and for what is not known. */
  readonly codec: string | undefined;
  readonly isVideo: boolean;
  readonly isSound: boolean;
  readonly beginsGroup: BeginOfGroup;
}

export interface Program {
  readonly number: number;
  readonly mapPid: number;
  /** Which packets carry its clock. */
  readonly clockPid: number;
  /** By their PIDs. */
  readonly streams: ReadonlyMap<number, ElementaryStream>;
  readonly hasVideo: boolean;
  /** Where the last association table before its map table begins. */
  readonly headersAt: number;
}

/** The programs of a stream, by the two tables without which a player knows nothing of it (ISO/IEC 13818-1, 2.4.4). */
export class ProgramTables {
  readonly #readers = new Map([[PAT_PID, new SectionReader()]]);
  /** The association table by its sections: the PIDs of the map tables, by the numbers of the programs. */
  readonly #sections = new Map<number, ReadonlyMap<number, number>>();
  #version = 0;
  #associationAt = 0;
  /** By their numbers. */
  readonly #programs = new Map<number, Program>();

  /** In the order of the association table, in which players look for the first to play. */
  get programs(): readonly Program[] {
    return [...this.#mapPids.keys()].flatMap((number) => this.#programs.get(number) ?? []);
  }

  /** By name, of the program that players show by itself: its first pictures, then its first sound. */
  get codecs(): readonly string[] {
    const { programs } = this;
    const shown = programs.find(({ hasVideo }) => hasVideo) ?? programs[0];
    const streams = [...(shown?.streams.values() ?? [])];
    const first = [streams.find(({ isVideo }) => isVideo), streams.find(({ isSound }) => isSound)];
    return first.flatMap((stream) => (stream ? (stream.codec ?? 'unknown') : []));
  }

  /** Whether packets of this PID are of a table. */
  has(pid: number): boolean {
    return this.#readers.has(pid);
  }

  /** Reads a packet of a table, which begins at `at`. */
  read(packet: Packet, at: number): void {
    const { pid } = packet;
    const mark = pid === PAT_PID ? at : this.#associationAt;
    for (const section of this.#readers.get(pid)?.read(packet, mark) ?? []) {
      if (pid === PAT_PID) this.#associate(section);
      else this.#map(pid, section);
    }
  }

  get #mapPids(): ReadonlyMap<number, number> {
    const inOrder = [...this.#sections].sort(([a], [b]) => a - b);
    return new Map(inOrder.flatMap(([, pids]) => [...pids]));
  }

  #associate({ tableId, content, version, number, mark }: Section): void {
    if (tableId !== PAT_ID) return;
    if (number === 0) this.#associationAt = mark;
    if (version !== this.#version) this.#sections.clear();
    this.#version = version;
    this.#sections.set(number, mapPidsIn(content));
    const mapPids = this.#mapPids;
    const pids = new Set([PAT_PID, ...mapPids.values()]);
    for (const program of this.#programs.values()) {
      if (mapPids.get(program.number) !== program.mapPid) this.#programs.delete(program.number);
    }
    for (const pid of this.#readers.keys()) if (!pids.has(pid)) this.#readers.delete(pid);
    for (const pid of pids) if (!this.#readers.has(pid)) this.#readers.set(pid, new SectionReader());
  }

  #map(pid: number, { tableId, id, content, mark }: Section): void {
    if (tableId !== PMT_ID || this.#mapPids.get(id) !== pid) return;
    const streams = streamsIn(content);
    const hasVideo = Array.from(streams.values()).some(({ isVideo }) => isVideo);
    const clockPid = content.length < 2 ? 0x1fff : content.readUInt16BE(0) & 0x1fff;
    this.#programs.set(id, { number: id, mapPid: pid, clockPid, streams, hasVideo, headersAt: mark });
  }
}

function mapPidsIn(association: Buffer): Map<number, number> {
  const pids = new Map<number, number>();
  for (let at = 0; at + 4 <= association.length; at += 4) {
    const number = association.readUInt16BE(at);
    // Program 0 is the network, not one to watch.
    if (number !== 0) pids.set(number, association.readUInt16BE(at + 2) & 0x1fff);
  }
  return pids;
}

function streamsIn(map: Buffer): Map<number, ElementaryStream> {
  const streams = new Map<number, ElementaryStream>();
  let at = map.length < 4 ? map.length : 4 + (map.readUInt16BE(2) & 0x0fff);
  while (at + 5 <= map.length) {
    const end = at + 5 + (map.readUInt16BE(at + 3) & 0x0fff);
    streams.set(map.readUInt16BE(at + 1) & 0x1fff, streamOf(map[at] as number, map.subarray(at + 5, end)));
    at = end;
  }
  return streams;
}

function streamOf(type: number, descriptors: Buffer): ElementaryStream {
  const beginsGroup = VIDEO.get(type);
  const isVideo = beginsGroup !== undefined;
  const codec = type === PRIVATE ? describedIn(descriptors) : CODECS.get(type);
  return { type, codec, isVideo, isSound: codec !== undefined && !isVideo, beginsGroup: beginsGroup ?? isNothing };
}

function describedIn(descriptors: Buffer): string | undefined {
  for (let at = 0; at + 2 <= descriptors.length; at += 2 + (descriptors[at + 1] as number)) {
    const tag = descriptors[at] as number;
    const codec =
      tag === REGISTRATION ? REGISTERED.get(descriptors.toString('latin1', at + 2, at + 6)) : DESCRIBED.get(tag);
    if (codec !== undefined) return codec;
  }
  return undefined;
}

/** Whether a player of these programs begins with such a stream: pictures if there are any, else sound, else whatever there is. */
export function leads(stream: ElementaryStream, programs: readonly Program[]): boolean {
  const all = programs.flatMap(({ streams }) => [...streams.values()]);
  if (all.some(({ isVideo }) => isVideo)) return stream.isVideo;
  return stream.isSound || !all.some(({ isSound }) => isSound);
}
