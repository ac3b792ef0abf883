import {
  beginsGroup,
  PACKET_BYTES,
  type Packet,
  PacketReader,
  type Program,
  packetAt,
  TICKS_PER_SECOND,
  ticksBetween,
  timestampsOf,
} from '../../mpeg-ts/index.ts';
import { isSameProgram, ProgramView } from './program-view.ts';
import { SegmentWriter } from './segment-writer.ts';

/** A piece of the stream that can be played by itself. */
export interface CutSegment {
  readonly bytes: Buffer;
  readonly durationSeconds: number;
  /** What was before has nothing to do with it: another source, a leap of its clock, other tracks. */
  readonly isDiscontinuous: boolean;
}

/** So many segments at the begin are as short as they can be, so that who waits sees a picture soon. */
const SHORT_SEGMENTS = 3;
const SHORT_SECONDS = 0.5;
/** A key frame that comes a little early is taken: the next may be a whole group away. */
const EARLY = 0.9;
/** How long a first segment gets where no second key frame comes. */
const MAX_FIRST_SECONDS = 10;
/** What is more than that between two pictures is a leap. */
const MAX_STEP_SECONDS = 2;
const MAX_STEP_BACK_SECONDS = 0.5;
/** Ten seconds at 40 Mbit/s. */
const MAX_BYTES = 50_000_000;

/**
 * Cuts MPEG-TS into the segments of HLS (RFC 8216, 3.2): each begins with the tables of its one program, and a key frame.
 * However the bytes come in pieces, the segments are the same.
 *
 * What a segment may last at most is known with the first one, from how far apart its key frames are. Where they are
 * further apart later, it is cut at any picture: a player goes on there, but can't begin.
 */
export class Segmenter {
  readonly #segmentSeconds: number;
  readonly #emit: (segment: CutSegment) => void;
  #packets = new PacketReader();
  readonly #writer = new SegmentWriter();
  #view = new ProgramView();
  #program: Program | undefined;
  /** Whose key frames segments begin with. */
  #leadPid = -1;
  /** Of the segment that is being written, in ticks. */
  #begin: number | undefined;
  #shownTicks = 0;
  #lastDts = 0;
  #stepTicks = 0;
  #isDiscontinuous = false;
  #emitted = 0;
  #targetSeconds: number | undefined;

  constructor(segmentMs: number, emit: (segment: CutSegment) => void) {
    this.#segmentSeconds = segmentMs / 1_000;
    this.#emit = emit;
  }

  /** What no segment's duration, rounded, is more than; known with the first one and the same from then on. */
  get targetSeconds(): number | undefined {
    return this.#targetSeconds;
  }

  /** The program that is cut, once it is known. */
  get program(): Program | undefined {
    return this.#program;
  }

  push(bytes: Buffer): void {
    this.#packets.read(bytes, (packets, at) => this.#read(packets, at));
  }

  /** What comes next is of another source. */
  break(): void {
    this.#leave();
    // What is left of the last packet is not of the next.
    this.#packets = new PacketReader();
    this.#view = new ProgramView();
    this.#program = undefined;
  }

  #read(bytes: Buffer, at: number): void {
    const packet = packetAt(bytes, at);
    if (!packet) return;
    const { pid } = packet;
    if (this.#view.has(pid)) {
      this.#view.read(packet, Buffer.from(bytes.subarray(at, at + PACKET_BYTES)));
      this.#followTables();
      return;
    }
    if (packet.isStart) this.#look(packet);
    if (this.#begin === undefined || !this.#program) return;
    if (this.#program.streams.has(pid) || pid === this.#program.clockPid) this.#writer.add(bytes, at);
    if (this.#writer.length > MAX_BYTES) this.#leave();
  }

  #followTables(): void {
    if (!this.#program) return;
    const now = this.#view.program(this.#program.number);
    if (now && isSameProgram(now, this.#program)) return;
    this.#leave();
    this.#program = undefined;
  }

  /** A picture, or some sound, begins. */
  #look(packet: Packet): void {
    const program = this.#program ?? this.#view.programLedBy(packet.pid);
    const stream = program?.streams.get(packet.pid);
    if (!program || !stream || (this.#program && packet.pid !== this.#leadPid)) return;
    const times = timestampsOf(packet.payload);
    if (!times) return;
    const isKey = !stream.isVideo || packet.isRandomAccess || beginsGroup(packet.payload, stream);
    if (this.#begin !== undefined) this.#goOn(this.#begin, times.pts, times.dts, isKey);
    if (this.#begin === undefined && isKey) this.#start(program, packet.pid, times.pts);
    this.#lastDts = times.dts;
  }

  #goOn(begin: number, pts: number, dts: number, isKey: boolean): void {
    const step = ticksBetween(this.#lastDts, dts) / TICKS_PER_SECOND;
    const shown = ticksBetween(begin, pts);
    const seconds = shown / TICKS_PER_SECOND;
    const isLeap = step > MAX_STEP_SECONDS || step < -MAX_STEP_BACK_SECONDS || seconds >= this.#maxSeconds + 0.5;
    if (isLeap) {
      this.#leave();
      return;
    }
    const isDue = isKey && seconds >= this.#leastSeconds;
    if (isDue || seconds >= this.#maxSeconds) {
      this.#end(seconds);
      this.#restart(pts);
    } else {
      this.#shownTicks = Math.max(this.#shownTicks, shown);
      this.#stepTicks = Math.max(1, Math.round(step * TICKS_PER_SECOND));
    }
  }

  get #leastSeconds(): number {
    const usual = EARLY * this.#segmentSeconds;
    return this.#emitted < SHORT_SEGMENTS ? Math.min(EARLY * SHORT_SECONDS, usual) : usual;
  }

  get #maxSeconds(): number {
    return this.#targetSeconds ?? MAX_FIRST_SECONDS;
  }

  #start(program: Program, pid: number, pts: number): void {
    this.#program = program;
    this.#leadPid = pid;
    this.#restart(pts);
  }

  #restart(pts: number): void {
    const program = this.#program as Program;
    this.#begin = pts;
    this.#shownTicks = 0;
    this.#writer.begin(program, this.#view.mapOf(program));
  }

  /** Gives what there is of the segment; the next begins with a key frame, and anew. */
  #leave(): void {
    if (this.#begin === undefined) return;
    const seconds = (this.#shownTicks + this.#stepTicks) / TICKS_PER_SECOND;
    if (this.#shownTicks > 0) this.#end(Math.min(seconds, this.#maxSeconds + 0.49));
    this.#begin = undefined;
    this.#isDiscontinuous = true;
  }

  #end(durationSeconds: number): void {
    this.#targetSeconds ??= Math.ceil(this.#segmentSeconds + durationSeconds);
    const isDiscontinuous = this.#isDiscontinuous;
    this.#isDiscontinuous = false;
    this.#emitted++;
    this.#emit({ bytes: this.#writer.end(), durationSeconds, isDiscontinuous });
  }
}
