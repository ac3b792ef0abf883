import { isInSync, PACKET_BYTES, SYNC_BYTE } from './packet.ts';

/** When a stream is lost, and no longer just disturbed. Times are in milliseconds. */
export interface StreamLimits {
  /** Without a packet among what comes. @default 1000 */
  readonly garbageMs?: number | undefined;
  /** So many errors within `errorWindowMs` are no glitch any more: each is a packet that is missing or damaged. @default 20 */
  readonly errors?: number | undefined;
  /** @default 2000 */
  readonly errorWindowMs?: number | undefined;
  /** Without a packet of payload that is not scrambled. @default 2500 */
  readonly scrambledMs?: number | undefined;
  /** Without the clock that players need, or without pictures where there were some. @default 5000 */
  readonly missingMs?: number | undefined;
}

/** What is wrong with a stream, and since when by the clock of the caller. */
export interface StreamTrouble {
  /** `garbage` shows nothing at all; of the others a player may still make something. */
  readonly kind: 'garbage' | 'discontinuous' | 'scrambled' | 'no-video' | 'no-clock';
  readonly sinceMs: number;
  readonly detail: string;
}

const NULL_PID = 0x1fff;
const PIDS = 0x2000;
/** In `#continuity`: nothing of this PID was seen. */
const UNSEEN = 0xff;
/** Beside the counter in `#continuity`: the packet was there twice, which is allowed once. */
const REPEATED = 0x10;

const DAMAGED = 0x80_0000;
const STARTS = 0x40_0000;
const SCRAMBLED = 0xc0;
const HAS_ADAPTATION = 0x20;
const HAS_PAYLOAD = 0x10;
const DISCONTINUITY = 0x80;
const HAS_CLOCK = 0x10;

/** A sync byte in a picture is chance; three at the right distance are a stream. */
const SYNC_RUN = 3;
const SYNC_RUN_BYTES = (SYNC_RUN - 1) * PACKET_BYTES + 1;
const NOTHING = Buffer.alloc(0);

/**
 * Watches MPEG-TS (ISO/IEC 13818-1) as it passes: counts what is missing, and tells when that is more than a glitch. Slices
 * may be cut anywhere. Pure: `now` is given, in milliseconds of any clock that only goes forward.
 *
 * `push` costs some nanoseconds a packet. It can't see what is lost inside of a packet, nor what a muxer between the source
 * and here has numbered anew.
 */
export class StreamMonitor {
  readonly #limits: StreamLimitValues;
  /** Of each PID, the counter of its last packet. */
  readonly #continuity = new Uint8Array(PIDS).fill(UNSEEN);
  /** When the last errors were, as a ring; the oldest of them is the next to be overwritten. */
  readonly #errorTimes: Float64Array;
  #nextError = 0;
  #continuityErrors = 0;
  #damagedPackets = 0;
  #syncLosses = 0;
  #scrambledPackets = 0;
  #packets = 0;
  #bytes = 0;
  /** The end of a slice whose packet is not whole, or in which no packet was found yet. */
  #rest: Buffer = NOTHING;
  #isInSync = false;
  #startedAt: number | undefined;
  #lastByteAt: number | undefined;
  #inSyncAt = 0;
  #clearAt = 0;
  #clockAt = 0;
  #videoAt: number | undefined;

  constructor(limits: StreamLimits = {}) {
    const { garbageMs = 1_000, errors = 20, errorWindowMs = 2_000, scrambledMs = 2_500, missingMs = 5_000 } = limits;
    this.#limits = { garbageMs, errors, errorWindowMs, scrambledMs, missingMs };
    this.#errorTimes = new Float64Array(errors + 1).fill(Number.NEGATIVE_INFINITY);
  }

  /** Packets that did not come: gaps in the counters of the PIDs. */
  get continuityErrors(): number {
    return this.#continuityErrors;
  }

  /** Packets that their sender marked as damaged. */
  get damagedPackets(): number {
    return this.#damagedPackets;
  }

  /** How often something else came where a packet should begin. */
  get syncLosses(): number {
    return this.#syncLosses;
  }

  get scrambledPackets(): number {
    return this.#scrambledPackets;
  }

  get packets(): number {
    return this.#packets;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Another stream begins: its counters do not follow the old ones. What was counted stays. */
  restart(now: number): void {
    this.#continuity.fill(UNSEEN);
    this.#errorTimes.fill(Number.NEGATIVE_INFINITY);
    this.#rest = NOTHING;
    this.#isInSync = false;
    this.#startedAt = undefined;
    this.#lastByteAt = now;
    this.#videoAt = undefined;
  }

  /** What comes next of the stream. */
  push(slice: Buffer, now: number): void {
    if (slice.length === 0) return;
    if (this.#startedAt === undefined) this.#begin(now);
    this.#lastByteAt = now;
    this.#bytes += slice.length;
    this.#read(this.#rest.length === 0 ? slice : Buffer.concat([this.#rest, slice]), now);
  }

  /** For how long nothing came. */
  silentMs(now: number): number {
    return this.#lastByteAt === undefined ? 0 : now - this.#lastByteAt;
  }

  /** Why the stream is lost, if it is; of several reasons the gravest. That nothing comes is told by `silentMs` alone. */
  trouble(now: number): StreamTrouble | undefined {
    if (this.#startedAt === undefined) return undefined;
    // While nothing comes, nothing gets worse.
    const seen = Math.min(now, this.#lastByteAt ?? now);
    return this.#garbage(seen) ?? this.#discontinuous(now) ?? this.#scrambled(seen) ?? this.#missing(seen);
  }

  #garbage(seen: number): StreamTrouble | undefined {
    const sinceMs = seen - this.#inSyncAt;
    if (this.#isInSync || sinceMs < this.#limits.garbageMs) return undefined;
    return { kind: 'garbage', sinceMs, detail: `no MPEG-TS among what came for ${Math.round(sinceMs)} ms` };
  }

  #discontinuous(now: number): StreamTrouble | undefined {
    const { errors, errorWindowMs } = this.#limits;
    const sinceMs = now - (this.#errorTimes[this.#nextError] as number);
    if (sinceMs > errorWindowMs) return undefined;
    return { kind: 'discontinuous', sinceMs, detail: `more than ${errors} packets missing within ${errorWindowMs} ms` };
  }

  #scrambled(seen: number): StreamTrouble | undefined {
    const sinceMs = seen - this.#clearAt;
    if (!this.#isInSync || sinceMs < this.#limits.scrambledMs) return undefined;
    return { kind: 'scrambled', sinceMs, detail: `only scrambled packets for ${Math.round(sinceMs)} ms` };
  }

  #missing(seen: number): StreamTrouble | undefined {
    const noVideoMs = seen - (this.#videoAt ?? seen);
    const noClockMs = seen - this.#clockAt;
    const { missingMs } = this.#limits;
    if (noVideoMs >= missingMs) {
      return { kind: 'no-video', sinceMs: noVideoMs, detail: `no picture for ${Math.round(noVideoMs)} ms` };
    }
    if (noClockMs < missingMs) return undefined;
    return { kind: 'no-clock', sinceMs: noClockMs, detail: `no clock (PCR) for ${Math.round(noClockMs)} ms` };
  }

  #begin(now: number): void {
    this.#startedAt = now;
    this.#inSyncAt = now;
    this.#clearAt = now;
    this.#clockAt = now;
  }

  #read(bytes: Buffer, now: number): void {
    let at = this.#isInSync ? 0 : this.#findSync(bytes, 0);
    while (this.#isInSync && at + PACKET_BYTES <= bytes.length) {
      if (bytes[at] === SYNC_BYTE) {
        this.#look(bytes, at, now);
        at += PACKET_BYTES;
      } else {
        this.#loseSync(now);
        at = this.#findSync(bytes, at);
      }
    }
    // A copy, since a slice may be a part of much that is to be freed.
    this.#rest = at < bytes.length ? Buffer.from(bytes.subarray(at)) : NOTHING;
    if (this.#isInSync) this.#inSyncAt = now;
  }

  /** Where packets begin again; while they do not, from where on the next slice has to be looked through. */
  #findSync(bytes: Buffer, from: number): number {
    for (let at = bytes.indexOf(SYNC_BYTE, from); at >= 0; at = bytes.indexOf(SYNC_BYTE, at + 1)) {
      if (at + SYNC_RUN_BYTES > bytes.length) return at;
      this.#isInSync = isInSync(bytes, at, SYNC_RUN);
      if (this.#isInSync) return at;
    }
    return bytes.length;
  }

  #loseSync(now: number): void {
    this.#isInSync = false;
    this.#syncLosses++;
    this.#noteError(now);
    // Nobody knows what was in between.
    this.#continuity.fill(UNSEEN);
  }

  #look(bytes: Buffer, at: number, now: number): void {
    const head = bytes.readUInt32BE(at);
    const pid = (head >>> 8) & NULL_PID;
    this.#packets++;
    if ((head & DAMAGED) !== 0) {
      // Its PID may be wrong as well.
      this.#damagedPackets++;
      this.#noteError(now);
      return;
    }
    if (pid === NULL_PID) return;
    const flags = (head & HAS_ADAPTATION) !== 0 && bytes[at + 4] !== 0 ? (bytes[at + 5] as number) : 0;
    if ((flags & HAS_CLOCK) !== 0) this.#clockAt = now;
    this.#count(pid, head, (flags & DISCONTINUITY) !== 0, now);
    if ((head & HAS_PAYLOAD) !== 0) this.#lookInto(bytes, at, head, now);
  }

  /** The counter grows with every packet that has a payload, and stays with one that has none. */
  #count(pid: number, head: number, isAnnounced: boolean, now: number): void {
    const counter = head & 0x0f;
    const known = this.#continuity[pid] as number;
    const hasPayload = (head & HAS_PAYLOAD) !== 0;
    const previous = known & 0x0f;
    const isRepeated = hasPayload && known < REPEATED && counter === previous;
    this.#continuity[pid] = isRepeated && !isAnnounced ? counter | REPEATED : counter;
    if (known === UNSEEN || isAnnounced || isRepeated) return;
    if (counter === (hasPayload ? (previous + 1) & 0x0f : previous)) return;
    this.#continuityErrors++;
    this.#noteError(now);
  }

  #lookInto(bytes: Buffer, at: number, head: number, now: number): void {
    if ((head & SCRAMBLED) !== 0) {
      this.#scrambledPackets++;
      return;
    }
    // Tables are never scrambled, pictures and sound begin where a start code is.
    if ((head & STARTS) === 0) return;
    const begin = at + 4 + ((head & HAS_ADAPTATION) === 0 ? 0 : 1 + (bytes[at + 4] as number));
    if (begin + 4 > at + PACKET_BYTES || bytes.readUIntBE(begin, 3) !== 1) return;
    this.#clearAt = now;
    const stream = bytes[begin + 3] as number;
    // Stream ids of video. 0xfd of newer kinds of it is that of newer kinds of sound as well.
    if ((stream & 0xf0) === 0xe0) this.#videoAt = now;
  }

  #noteError(now: number): void {
    this.#errorTimes[this.#nextError] = now;
    this.#nextError = (this.#nextError + 1) % this.#errorTimes.length;
  }
}

type StreamLimitValues = { [Name in keyof StreamLimits]-?: number };
