import type { Failure } from '../failure.ts';
import {
  type Busy,
  type Gate,
  type ListedSource,
  type Placed,
  SourceEntry,
  type SourceState,
  type Wait,
} from './source-entry.ts';

export type ListVerdict = { readonly allowed: true } | Wait;

/** What a new list changed. */
export interface ListChange {
  /** No longer listed, or somewhere else now: what was known of them is of no use. */
  readonly forgotten: readonly ListedSource[];
  /** There is something to read that was not there before. */
  readonly hasNew: boolean;
  /** What is being read is no longer listed. */
  readonly isReadingGone: boolean;
}

/**
 * The sources of a channel in order of preference: which to read next, and when to go back to a better one. Pure: `now` is
 * given, and the guards of each source are asked through `gate`.
 *
 * A source that failed stands behind those that did not, until it has been well for `preferAfterMs`: so two sources of which
 * one is bad never take turns. Nobody can see how a source is without reading it, and a second tuner for that would be taken
 * from other viewers. So it counts as well for as long as nothing speaks against it: it has not failed, and whoever can ask
 * its device or its server without taking anything was not told otherwise (`probed`). If it fails again right after a return
 * to it, the wait doubles. What can not be asked is returned to when the channel is opened anew, which cuts nobody.
 */
export class SourceList {
  readonly #gate: Gate;
  readonly #preferAfterMs: () => number;
  #entries: readonly SourceEntry[] = [];
  #reading: SourceEntry | undefined;
  #lastNumber = 0;

  /** @param preferAfterMs asked each time, as it can change */
  constructor(gate: Gate, preferAfterMs: () => number) {
    this.#gate = gate;
    this.#preferAfterMs = preferAfterMs;
  }

  get all(): readonly ListedSource[] {
    return this.#entries;
  }

  get reading(): ListedSource | undefined {
    return this.#reading;
  }

  update(sources: readonly Placed[]): ListChange {
    const former = this.#entries;
    const kept = this.#keptFor(sources);
    const moved = sources.flatMap((placed, index) => {
      const entry = kept[index];
      const hasMoved = entry !== undefined && entry.source.url !== placed.source.url;
      entry?.put(placed);
      return hasMoved ? [entry] : [];
    });
    for (const entry of moved) if (entry !== this.#reading) entry.forgive();
    this.#entries = sources.map((placed, index) => kept[index] ?? this.#fresh(placed));
    const removed = former.filter((entry) => !this.#entries.includes(entry));
    return {
      forgotten: [...removed, ...moved].filter((entry) => entry !== this.#reading),
      hasNew: former.length > 0 && (kept.includes(undefined) || moved.length > 0),
      isReadingGone: this.#reading !== undefined && removed.includes(this.#reading),
    };
  }

  /** Those that may be opened now, in the order in which to try them; those of a group are as good as each other. */
  candidates(now: number): readonly (readonly ListedSource[])[] {
    const open = this.#entries.filter((entry) => entry.wait(now) === undefined);
    const groups = Map.groupBy(open, (entry) => this.#orderOf(entry, now));
    return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group);
  }

  /** Whether any may be opened now, or what keeps the first that may. */
  verdict(now: number): ListVerdict {
    const waits = this.#entries.map((entry) => entry.wait(now));
    if (waits.length === 0 || waits.includes(undefined)) return { allowed: true };
    return (waits as Wait[]).reduce((least, wait) => (wait.retryAfterMs < least.retryAfterMs ? wait : least));
  }

  /**
   * Whether there is another to read: `any` that may be opened and that others do not have, as far as is known, or one that
   * is `well`.
   */
  hasOther(now: number, kind: 'any' | 'well'): boolean {
    return this.#entries.some((entry) => {
      if (entry === this.#reading || entry.wait(now) !== undefined) return false;
      return !entry.isBehind(now) || (kind === 'any' && entry.state !== 'busy');
    });
  }

  /** The best of those that are preferred to what is read and have not been well for long enough, or for just that long. */
  better(now: number): { readonly listed: ListedSource; readonly isDue: boolean } | undefined {
    const reading = this.#reading;
    if (!reading?.isLive) return undefined;
    const entry = this.#entries
      .filter(({ rank }) => rank < reading.rank)
      .sort((a, b) => a.behindMs(now) - b.behindMs(now) || a.rank - b.rank)[0];
    return entry && { listed: entry, isDue: !entry.isBehind(now) && entry.wait(now) === undefined };
  }

  /** What was heard of a source without reading it: while it is not well, no time counts. */
  probed({ key }: ListedSource, isWell: boolean, now: number): void {
    if (!isWell) this.#find(key)?.unwell(now);
  }

  /** It is being opened. */
  opening({ key }: ListedSource): void {
    const entry = this.#find(key);
    if (!entry) return;
    this.#reading = entry;
    entry.opening(this.isReturn(entry));
  }

  /** Whether it is tried again, as it is preferred to another that has not failed. */
  isReturn({ key }: ListedSource): boolean {
    const entry = this.#find(key);
    if (!entry || entry.state === 'ok') return false;
    return this.#entries.some((other) => other !== entry && other.state === 'ok');
  }

  live(now: number): void {
    this.#reading?.live(now);
  }

  /** It ended, and was meant to, or for a reason that is none of its own. */
  closed(): void {
    this.#reading = undefined;
  }

  /** It could not be opened, or what it gave ended or was no use. */
  failed(listed: ListedSource, said: Failure, now: number): void {
    this.#over(listed)?.failed(said, now);
  }

  /** Others have it. */
  busy(listed: ListedSource, said: Busy, now: number): void {
    this.#over(listed)?.busy(said, now);
  }

  /** Much may have changed: what is busy may be asked now. */
  askAtOnce(now: number): void {
    for (const entry of this.#entries) entry.askAtOnce(now);
  }

  /** Nothing that was known speaks against any of them any more. */
  forgive(): void {
    for (const entry of this.#entries) entry.forgive();
  }

  isBusy({ key }: ListedSource): boolean {
    return this.#find(key)?.state === 'busy';
  }

  states(now: number): readonly SourceState[] {
    return this.#entries.map((entry) => entry.stateAt(now, entry === this.#reading));
  }

  #find(key: string): SourceEntry | undefined {
    return this.#entries.find((entry) => entry.key === key);
  }

  #over({ key }: ListedSource): SourceEntry | undefined {
    if (this.#reading?.key === key) this.#reading = undefined;
    return this.#find(key);
  }

  /**
   * Which of those that are listed is each of these. One at the same address has only become known by another name, as its
   * device answered, unless it is known to have gone elsewhere, and its address is another's now.
   */
  #keptFor(sources: readonly Placed[]): readonly (SourceEntry | undefined)[] {
    const kept = sources.map(({ key }) => this.#find(key));
    for (const [index, { source }] of sources.entries()) {
      kept[index] ??= this.#entries.find((entry) => entry.source.url === source.url && !kept.includes(entry));
    }
    return kept;
  }

  #fresh(placed: Placed): SourceEntry {
    return new SourceEntry(placed, ++this.#lastNumber, { gate: this.#gate, preferAfterMs: this.#preferAfterMs });
  }

  #orderOf(entry: SourceEntry, now: number): number {
    return entry.rank + (entry.isBehind(now) ? this.#entries.length : 0);
  }
}
