import type { JoinPoint } from 'holdfast';
import { isInSync, PACKET_BYTES, type Packet, packetAt } from './packet.ts';
import { type ElementaryStream, PAT_PID, programsOf, streamsOf } from './tables.ts';

/** A start code of video is `00 00 01` and a byte that says what starts. */
const START_CODE = Buffer.from([0, 0, 1]);
const NOTHING = Buffer.alloc(0);

/**
 * Makes the `joinPoint` of one hub whose source is MPEG-TS: where a player shows a picture at once. That is a place from
 * which on there are a program association table, a program map table and then a picture that needs none before it: one
 * that is marked as a random access point, or that begins with the parameters of its decoder. Without video any frame of
 * sound will do. The tables mostly come some time before the picture, so the offset is often negative.
 *
 * It remembers what it saw, so each hub needs one of its own. Sources may be cut anywhere, begin within a packet, or be
 * damaged; it finds its way again at the next packets and tables.
 */
export function mpegTsJoinPoint(): JoinPoint {
  const scanner = new JoinPointScanner();
  return (slice) => scanner.scan(slice);
}

interface Program {
  readonly streams: ReadonlyMap<number, ElementaryStream>;
  /** Where the last association table before its last map table begins, in bytes of all slices. */
  readonly headersAt: number;
}

class JoinPointScanner {
  /** The begin of a packet whose end is in the next slice. */
  #rest: Buffer = NOTHING;
  /** The PIDs of the map tables, as the last association table has them, and where it begins. */
  #mapPids: ReadonlySet<number> = new Set();
  #tablesAt = 0;
  /** By the PID of its map table. */
  readonly #programs = new Map<number, Program>();
  /** Where the current slice begins. */
  #position = 0;
  #found: number | undefined;

  scan(slice: Buffer): number | undefined {
    this.#found = undefined;
    this.#scanFrom(this.#finishRest(slice), slice);
    const begin = this.#position;
    this.#position += slice.length;
    return this.#found === undefined ? undefined : this.#found - begin;
  }

  /** Where the first packet begins that is whole, after the one that began in the slices before. */
  #finishRest(slice: Buffer): number {
    const rest = this.#rest;
    if (rest.length === 0) return 0;
    const at = PACKET_BYTES - rest.length;
    const packet = Buffer.concat([rest, slice.subarray(0, at)]);
    const isWhole = packet.length === PACKET_BYTES;
    this.#rest = isWhole ? NOTHING : packet;
    if (!isWhole) return slice.length;
    if (at < slice.length && !isInSync(slice, at)) return 0;
    this.#look(packetAt(packet, 0), this.#position - rest.length);
    return at;
  }

  #scanFrom(begin: number, slice: Buffer): void {
    let at = begin;
    while (at < slice.length) {
      if (!isInSync(slice, at)) at++;
      else if (at + PACKET_BYTES <= slice.length) {
        this.#look(packetAt(slice, at), this.#position + at);
        at += PACKET_BYTES;
      } else {
        this.#rest = Buffer.from(slice.subarray(at));
        return;
      }
    }
  }

  #look(packet: Packet | undefined, at: number): void {
    if (!packet?.isStart) return;
    if (packet.pid === PAT_PID) this.#lookAtPrograms(packet.payload, at);
    else if (this.#mapPids.has(packet.pid)) this.#lookAtStreams(packet);
    else this.#found = this.#beginOf(packet) ?? this.#found;
  }

  #lookAtPrograms(payload: Buffer, at: number): void {
    const pids = programsOf(payload);
    if (!pids) return;
    this.#mapPids = pids;
    this.#tablesAt = at;
    for (const pid of this.#programs.keys()) if (!pids.has(pid)) this.#programs.delete(pid);
  }

  #lookAtStreams({ pid, payload }: Packet): void {
    const streams = streamsOf(payload);
    if (streams) this.#programs.set(pid, { streams, headersAt: this.#tablesAt });
  }

  /** Where one has to begin to play from this packet on, if one can. */
  #beginOf({ pid, isRandomAccess, payload }: Packet): number | undefined {
    for (const { streams, headersAt } of this.#programs.values()) {
      const stream = streams.get(pid);
      if (!stream) continue;
      const canBegin = stream.isVideo
        ? isRandomAccess || beginsGroup(payload, stream)
        : !Array.from(streams.values()).some(({ isVideo }) => isVideo);
      if (canBegin) return headersAt;
    }
    return undefined;
  }
}

/** Whether the parameters of the decoder are in the begin of a picture, as far as its first packet has it. */
function beginsGroup(payload: Buffer, stream: ElementaryStream): boolean {
  // The start code of the packet of the elementary stream itself is at 0.
  for (let at = payload.indexOf(START_CODE, 3); at >= 0; at = payload.indexOf(START_CODE, at + 3)) {
    if (stream.beginsGroup(payload[at + 3] ?? 0)) return true;
  }
  return false;
}
