import type { SegmentStore, StoredSegment } from './segment-store.ts';
import type { CutSegment } from './segmenter.ts';

/** A segment as a playlist lists it. */
export interface ListedSegment {
  readonly sequence: number;
  readonly durationSeconds: number;
  readonly isDiscontinuous: boolean;
  /** How many discontinuities there were up to this one, that before it included. */
  readonly discontinuities: number;
  /** When what it begins with was on the air, by this host's clock. */
  readonly startsAt: number;
  readonly stored: StoredSegment;
}

/** What goes on where one ring ends and another of the same playlist begins. */
export interface RingPosition {
  readonly sequence: number;
  readonly discontinuities: number;
  /** Whether there was one before: what comes next does not go on where that ended. */
  readonly isContinued?: boolean | undefined;
}

/** A playlist holds three target durations at least (RFC 8216, 6.2.2), or players that begin so far behind find nothing. */
const LEAST_TARGETS = 3;

/**
 * The newest segments of one playlist. One that is listed no more is kept for as long as a player that has the last
 * playlist with it may take to ask for it (RFC 8216, 6.2.2).
 */
export class SegmentRing {
  readonly #store: SegmentStore;
  readonly #count: number;
  readonly #listed: ListedSegment[] = [];
  readonly #late: { readonly segment: ListedSegment; readonly until: number }[] = [];
  #next: RingPosition;
  /** By a clock that only goes forward: that of the host may be set at any time. */
  #updatedAt = 0;

  /** @param count how many are listed at least */
  constructor(count: number, store: SegmentStore, next: RingPosition) {
    this.#count = count;
    this.#store = store;
    this.#next = next;
  }

  /** What the segment after the last one gets. */
  get next(): RingPosition {
    return this.#next;
  }

  get listed(): readonly ListedSegment[] {
    return this.#listed;
  }

  /** Those that are kept, listed or not. */
  get size(): number {
    return this.#listed.length + this.#late.length;
  }

  /** When the last one was added, by `performance.now()`; 0 before. */
  get updatedAt(): number {
    return this.#updatedAt;
  }

  /** In bits per second: that of the fattest one that is listed. */
  get peakBandwidth(): number {
    return Math.max(
      1,
      ...this.#listed.map(({ stored, durationSeconds }) => bandwidth(stored.byteLength, durationSeconds)),
    );
  }

  get averageBandwidth(): number {
    const bytes = this.#listed.reduce((sum, { stored }) => sum + stored.byteLength, 0);
    return Math.max(1, bandwidth(bytes, secondsOf(this.#listed)));
  }

  /** @param now by a clock that only goes forward; all but the date that players are told follows it */
  add(segment: CutSegment, targetSeconds: number, now: number = performance.now()): void {
    const { bytes, durationSeconds } = segment;
    const { sequence, isContinued = false } = this.#next;
    const isDiscontinuous = segment.isDiscontinuous || isContinued;
    const discontinuities = this.#next.discontinuities + (isDiscontinuous ? 1 : 0);
    const startsAt = this.#startOf(durationSeconds, isDiscontinuous);
    const stored = this.#store.put(bytes);
    this.#listed.push({ sequence, durationSeconds, isDiscontinuous, discontinuities, startsAt, stored });
    this.#next = { sequence: sequence + 1, discontinuities };
    this.#updatedAt = now;
    this.#trim(LEAST_TARGETS * targetSeconds, now);
  }

  get(sequence: number): StoredSegment | undefined {
    const isIt = (segment: ListedSegment) => segment.sequence === sequence;
    return (this.#listed.find(isIt) ?? this.#late.find(({ segment }) => isIt(segment))?.segment)?.stored;
  }

  /** Drops everything. */
  clear(): void {
    for (const { stored } of [...this.#listed, ...this.#late.map(({ segment }) => segment)]) stored.remove();
    this.#listed.length = 0;
    this.#late.length = 0;
  }

  /** The clock of the stream goes on from one segment to the next; where it can't, that of this host tells. */
  #startOf(durationSeconds: number, isDiscontinuous: boolean): number {
    const last = this.#listed.at(-1);
    const end = last ? last.startsAt + last.durationSeconds * 1_000 : 0;
    return last && !isDiscontinuous ? end : Math.max(end, Date.now() - durationSeconds * 1_000);
  }

  #trim(leastSeconds: number, now: number): void {
    const seconds = secondsOf(this.#listed);
    let rest = seconds;
    while (this.#listed.length > this.#count) {
      const [oldest] = this.#listed as [ListedSegment];
      rest -= oldest.durationSeconds;
      if (rest < leastSeconds) break;
      this.#listed.shift();
      this.#late.push({ segment: oldest, until: now + (seconds + oldest.durationSeconds) * 1_000 });
    }
    while (this.#late[0] && this.#late[0].until <= now) this.#late.shift()?.segment.stored.remove();
  }
}

function secondsOf(segments: readonly ListedSegment[]): number {
  return segments.reduce((sum, { durationSeconds }) => sum + durationSeconds, 0);
}

function bandwidth(bytes: number, seconds: number): number {
  return Math.ceil((bytes * 8) / Math.max(seconds, 0.001));
}
