import { NULL_PID, PACKET_BYTES, pidOf, readPcr, readTimestamp, stampsOf, TICK_WRAP } from './recording-packet.ts';
import { readTables, type Tables } from './recording-tables.ts';

/**
 * MPEG-TS that was encoded once and is sent over and over by any number of streams: what is known of each of its packets,
 * so that a stream has only to copy and restamp them. Null packets are left out, as devices do.
 */
export class Recording {
  /** Whole packets. */
  readonly bytes: Buffer;
  readonly packets: number;
  /** Of one round, in ticks of 90 kHz. */
  readonly roundTicks: number;
  /** When each packet is due, in ticks from the begin of a round. */
  readonly dueTicks: Float64Array;
  /** Where each packet has its clock, or 0; likewise the presentation and decoding times. */
  readonly clockAt: Uint8Array;
  readonly presentationAt: Uint8Array;
  readonly decodingAt: Uint8Array;
  /** By how much the counter of the packet's PID grows in one round. */
  readonly counterStep: Uint8Array;
  readonly tables: Tables;

  /**
   * @throws RangeError for what is no MPEG-TS with one program and a clock. Where it ends and begins again the picture
   * jumps; sound whose last frame does not end where the pictures end has a gap or an overlap of less than a frame.
   */
  constructor(recorded: Buffer) {
    this.bytes = withoutNullPackets(recorded);
    this.packets = this.bytes.length / PACKET_BYTES;
    this.tables = readTables(this.bytes);
    this.clockAt = new Uint8Array(this.packets);
    this.presentationAt = new Uint8Array(this.packets);
    this.decodingAt = new Uint8Array(this.packets);
    this.counterStep = new Uint8Array(this.packets);
    this.#index();
    this.roundTicks = this.#measureRound();
    this.dueTicks = this.#schedule();
  }

  /** Bits per second, on average. */
  get bitrate(): number {
    return (this.bytes.length * 8 * 90_000) / this.roundTicks;
  }

  #index(): void {
    const counts = new Map<number, number>();
    for (let index = 0; index < this.packets; index++) {
      const at = index * PACKET_BYTES;
      const { clockAt, presentationAt, decodingAt, hasPayload } = stampsOf(this.bytes, at);
      this.clockAt[index] = clockAt;
      this.presentationAt[index] = presentationAt;
      this.decodingAt[index] = decodingAt;
      if (hasPayload) counts.set(pidOf(this.bytes, at), (counts.get(pidOf(this.bytes, at)) ?? 0) + 1);
    }
    for (let index = 0; index < this.packets; index++) {
      this.counterStep[index] = (counts.get(pidOf(this.bytes, index * PACKET_BYTES)) ?? 0) & 0xf;
    }
  }

  /** A round lasts as long as its pictures: their times are evenly spaced, in whatever order they are sent. */
  #measureRound(): number {
    const times: number[] = [];
    for (let index = 0; index < this.packets; index++) {
      const [at, offset] = [index * PACKET_BYTES, this.presentationAt[index] as number];
      if (offset === 0 || pidOf(this.bytes, at) !== this.tables.clockPid) continue;
      times.push(readTimestamp(this.bytes, at + offset));
    }
    if (times.length < 2) throw new RangeError('recording must have two pictures or more to be sent in a loop');
    const since = times.map((time) => elapsed(times[0] as number, time));
    const span = Math.max(...since) - Math.min(...since);
    return Math.round((span * times.length) / (times.length - 1));
  }

  /** Between two clocks the packets are evenly spaced; those before the first are due with it. */
  #schedule(): Float64Array {
    const due = new Float64Array(this.packets);
    const clocks = Array.from(this.clockAt.keys()).filter((index) => this.clockAt[index]);
    const [first] = clocks;
    if (first === undefined) throw new RangeError('recording must have a clock (PCR)');
    const clockOf = (index: number) => readPcr(this.bytes, index * PACKET_BYTES + (this.clockAt[index] as number));
    const knots = clocks.map((index) => [index, elapsed(clockOf(first), clockOf(index))] as const);
    for (const [nth, [index, ticks]] of knots.entries()) {
      const [nextIndex, nextTicks] = knots[nth + 1] ?? [this.packets, this.roundTicks];
      if (nextTicks < ticks) throw new RangeError('recording must have a clock (PCR) that never goes back');
      for (let each = index; each < nextIndex; each++) {
        due[each] = ticks + ((each - index) * (nextTicks - ticks)) / (nextIndex - index);
      }
    }
    return due;
  }
}

function elapsed(from: number, to: number): number {
  const ticks = (to - from + TICK_WRAP) % TICK_WRAP;
  return ticks > TICK_WRAP / 2 ? ticks - TICK_WRAP : ticks;
}

function withoutNullPackets(recorded: Buffer): Buffer {
  const kept: Buffer[] = [];
  for (let at = 0; at + PACKET_BYTES <= recorded.length; at += PACKET_BYTES) {
    if (recorded[at] !== 0x47) throw new RangeError(`recording must be MPEG-TS, there is no packet at byte ${at}`);
    if (pidOf(recorded, at) !== NULL_PID) kept.push(recorded.subarray(at, at + PACKET_BYTES));
  }
  return Buffer.concat(kept);
}
