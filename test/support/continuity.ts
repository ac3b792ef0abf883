/**
 * Judges a stream of MPEG-TS packet by packet as it comes, for as long as it comes, by the standard's own rules
 * (ISO/IEC 13818-1, 2.4.3); shares no code with what it judges.
 */

const PACKET_BYTES = 188;
const SYNC = 0x47;
const NULL_PID = 0x1fff;
const NOTHING = Buffer.alloc(0);
/** Clocks count 33 bits of 90 kHz. */
const CLOCK_WRAP = 2 ** 33;

interface PidState {
  counter: number;
  /** The packet before: one may be sent twice. */
  packet: Buffer;
  clock: number | undefined;
}

export class ContinuityChecker {
  packets = 0;
  /** Bytes that had to be left out to find a packet again. */
  syncLosses = 0;
  continuityErrors = 0;
  /** Clocks that are no later than the one before of their PID. */
  clockErrors = 0;
  /** Where the stream itself says that what follows does not continue what was before. */
  discontinuities = 0;
  /** What the clock advanced by, in seconds, from the first to the last. */
  clockSeconds = 0;
  /** What was wrong first, for people. */
  readonly troubles: string[] = [];
  readonly #pids = new Map<number, PidState>();
  #rest: Buffer = NOTHING;

  write(chunk: Buffer): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    while (at + PACKET_BYTES <= bytes.length) {
      if (bytes[at] === SYNC) {
        this.#look(bytes.subarray(at, at + PACKET_BYTES));
        at += PACKET_BYTES;
      } else {
        this.#complain('no sync byte');
        this.syncLosses++;
        at = this.#resync(bytes, at + 1);
      }
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  /** The errors of all kinds. */
  get errors(): number {
    return this.syncLosses + this.continuityErrors + this.clockErrors + this.discontinuities;
  }

  #resync(bytes: Buffer, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      const next = at + PACKET_BYTES;
      if (bytes[at] === SYNC && (next >= bytes.length || bytes[next] === SYNC)) return at;
    }
    return bytes.length;
  }

  #look(packet: Buffer): void {
    this.packets++;
    const pid = packet.readUInt16BE(1) & 0x1fff;
    if (pid === NULL_PID) return;
    const control = packet[3] as number;
    const before = this.#pids.get(pid);
    const says = this.#saysDiscontinuity(packet, control);
    if (says) this.discontinuities++;
    else if (before && !continues(before, packet, control)) {
      this.continuityErrors++;
      this.#complain(`PID ${pid}: ${control & 0xf} after ${before.counter}`);
    }
    const clock = clockOf(packet, control);
    if (clock !== undefined && !says) this.#lookAtClock(pid, before?.clock, clock);
    this.#pids.set(pid, { counter: control & 0xf, packet: Buffer.from(packet), clock: clock ?? before?.clock });
  }

  #saysDiscontinuity(packet: Buffer, control: number): boolean {
    return (control & 0x20) !== 0 && (packet[4] as number) > 0 && ((packet[5] as number) & 0x80) !== 0;
  }

  #lookAtClock(pid: number, before: number | undefined, clock: number): void {
    if (before === undefined) return;
    const ticks = (clock - before + CLOCK_WRAP) % CLOCK_WRAP;
    if (ticks > 0 && ticks < CLOCK_WRAP / 2) {
      this.clockSeconds += ticks / 90_000;
      return;
    }
    this.clockErrors++;
    this.#complain(`PID ${pid}: clock ${clock} after ${before}`);
  }

  #complain(what: string): void {
    if (this.troubles.length < 10) this.troubles.push(`packet ${this.packets}: ${what}`);
  }
}

/** One more than before where there is a payload; else the same. A packet may come twice, whole. */
function continues(before: PidState, packet: Buffer, control: number): boolean {
  const counter = control & 0xf;
  if ((control & 0x10) === 0) return counter === before.counter;
  return counter === ((before.counter + 1) & 0xf) || (counter === before.counter && packet.equals(before.packet));
}

/** Of the clock, what counts at 90 kHz. */
function clockOf(packet: Buffer, control: number): number | undefined {
  if ((control & 0x20) === 0 || (packet[4] as number) < 7 || ((packet[5] as number) & 0x10) === 0) return undefined;
  return packet.readUInt32BE(6) * 2 + ((packet[10] as number) >> 7);
}
