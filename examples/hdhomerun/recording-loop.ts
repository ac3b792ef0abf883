import type { Recording } from './recording.ts';
import {
  PACKET_BYTES,
  pidOf,
  readPcr,
  readTimestamp,
  TICK_WRAP,
  writePcr,
  writeTimestamp,
} from './recording-packet.ts';
import { type ProgramName, pidIn, tablesOf } from './recording-tables.ts';

/** One endless stream made of a recording: its counters and times go on where the recording begins again. */
export class RecordingLoop {
  readonly #recording: Recording;
  readonly #tables: ReadonlyMap<number, Buffer>;
  readonly #pids: (pid: number) => number;
  /** Added to all times, so that streams of one recording differ as those of a station do. */
  readonly #firstTicks: number;
  #index = 0;
  #round = 0;

  constructor(recording: Recording, program: ProgramName, firstTicks = 0) {
    this.#recording = recording;
    this.#tables = tablesOf(recording.tables, program);
    this.#pids = (pid) => pidIn(program, pid);
    this.#firstTicks = firstTicks;
  }

  /** The packets that are due at `ticks` of 90 kHz since the begin and were not taken yet. */
  takeUntil(ticks: number): Buffer {
    const count = this.#dueBy(ticks);
    const bytes = Buffer.allocUnsafe(count * PACKET_BYTES);
    for (let at = 0; at < bytes.length; at += PACKET_BYTES) this.#writeNext(bytes, at);
    return bytes;
  }

  #dueBy(ticks: number): number {
    const { roundTicks, dueTicks, packets } = this.#recording;
    let [index, begin, count] = [this.#index, this.#round * roundTicks, 0];
    while (begin + (dueTicks[index] as number) <= ticks) {
      count++;
      if (++index < packets) continue;
      index = 0;
      begin += roundTicks;
    }
    return count;
  }

  #writeNext(to: Buffer, at: number): void {
    const { bytes, packets, counterStep } = this.#recording;
    const [index, from] = [this.#index, this.#index * PACKET_BYTES];
    const counter = (bytes[from + 3] as number) + this.#round * (counterStep[index] as number);
    const pid = pidOf(bytes, from);
    const table = this.#tables.get(pid);
    if (table) table.copy(to, at);
    else {
      bytes.copy(to, at, from, from + PACKET_BYTES);
      to.writeUInt16BE((to.readUInt16BE(at + 1) & 0xe000) | this.#pids(pid), at + 1);
      this.#moveTimes(to, at, index);
    }
    to[at + 3] = ((to[at + 3] as number) & 0xf0) | (counter & 0xf);
    this.#index = (index + 1) % packets;
    if (this.#index === 0) this.#round++;
  }

  #moveTimes(to: Buffer, at: number, index: number): void {
    const { clockAt, presentationAt, decodingAt, roundTicks } = this.#recording;
    const shift = this.#firstTicks + this.#round * roundTicks;
    const clock = clockAt[index] as number;
    if (clock) writePcr(to, at + clock, (readPcr(to, at + clock) + shift) % TICK_WRAP);
    for (const offset of [presentationAt[index] as number, decodingAt[index] as number]) {
      if (offset) writeTimestamp(to, at + offset, (readTimestamp(to, at + offset) + shift) % TICK_WRAP);
    }
  }
}
