import type { JoinPoint } from 'holdfast';
import { isInSync, PACKET_BYTES, type Packet, packetAt } from './packet.ts';
import { type ElementaryStream, leads, type Program, ProgramTables } from './tables.ts';

/** A start code of video is `00 00 01` and a byte that says what starts. */
const START_CODE = Buffer.from([0, 0, 1]);
const NOTHING = Buffer.alloc(0);

/**
 * Makes the `joinPoint` of one hub whose source is MPEG-TS: where a player shows a picture at once. That is a place from
 * which on there are a program association table, a program map table and then a picture that needs none before it: one
 * that is marked as a random access point, or that begins with the parameters of its decoder. Of several programs the first
 * that has pictures counts, which is the one that a player shows by itself. Where no program has video any frame of sound
 * will do. The tables mostly come some time before the picture, so the offset is often negative.
 *
 * It remembers what it saw, so each hub needs one of its own. Sources may be cut anywhere, begin within a packet, or be
 * damaged; it finds its way again at the next packets and tables.
 *
 * @param tables where it keeps what programs there are, for who wants to know that as well
 */
export function mpegTsJoinPoint(tables: ProgramTables = new ProgramTables()): JoinPoint {
  const scanner = new JoinPointScanner(tables);
  return (slice) => scanner.scan(slice);
}

/** A program may be passed over by so many pictures of others; then it has none: it is encrypted, or off the air. */
const PATIENCE = 8;

class JoinPointScanner {
  /** The begin of a packet whose end is in the next slice. */
  #rest: Buffer = NOTHING;
  readonly #tables: ProgramTables;
  /** The program whose pictures count, and how many there were of others since its last. */
  #leader = 0;
  #passedOver = 0;
  /** Where the current slice begins. */
  #position = 0;
  #found: number | undefined;

  constructor(tables: ProgramTables) {
    this.#tables = tables;
  }

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
    if (!packet) return;
    if (this.#tables.has(packet.pid)) this.#tables.read(packet, at);
    else if (packet.isStart) this.#found = this.#beginOf(packet) ?? this.#found;
  }

  /** Where one has to begin to play from this packet on, if one can. */
  #beginOf({ pid, isRandomAccess, payload }: Packet): number | undefined {
    const { programs } = this.#tables;
    for (const program of programs) {
      const stream = program.streams.get(pid);
      if (!stream || !leads(stream, programs)) continue;
      const canBegin = !stream.isVideo || isRandomAccess || beginsGroup(payload, stream);
      if (canBegin && this.#leads(program, programs)) return program.headersAt;
    }
    return undefined;
  }

  /** The first program that has pictures is the one that players show. */
  #leads(program: Program, programs: readonly Program[]): boolean {
    const before = programs.slice(0, programs.indexOf(program));
    const isBehindLeader = before.some(({ number }) => number === this.#leader);
    if (isBehindLeader && ++this.#passedOver <= PATIENCE) return false;
    this.#leader = program.number;
    this.#passedOver = 0;
    return true;
  }
}

/** Whether the parameters of the decoder are in the begin of a picture, as far as its first packet has it. */
export function beginsGroup(payload: Buffer, stream: ElementaryStream): boolean {
  // The start code of the packet of the elementary stream itself is at 0.
  for (let at = payload.indexOf(START_CODE, 3); at >= 0; at = payload.indexOf(START_CODE, at + 3)) {
    if (stream.beginsGroup(payload[at + 3] ?? 0)) return true;
  }
  return false;
}
