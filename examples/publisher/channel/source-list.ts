import type { RestartRefusedError } from 'holdfast';
import type { Source } from '../directory/directory.ts';
import type { Failure } from '../failure.ts';

/** A source in its place in the list of a channel. */
export interface ListedSource {
  /** What it is known by, wherever it is: a device that gets another address keeps it. */
  readonly key: string;
  /** Its own for as long as the channel lists it; 1 is the first that it ever had. */
  readonly number: number;
  /** 0 is read first; those of one rank are as good as each other. */
  readonly rank: number;
  readonly source: Source;
}

/** What the guards of a source say of another opening of it. */
export type Gate = (
  source: ListedSource,
) => { readonly allowed: true } | { readonly allowed: false; readonly why: Guard; readonly retryAfterMs: number };

type Guard = RestartRefusedError['why'];

export type ListVerdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly why: Guard | 'busy'; readonly retryAfterMs: number };

/** What is said of a source that is no worse for it, and when it is asked again. */
export type Busy = Failure & {
  readonly retryAfterMs: number;
  readonly mostMs?: number | undefined;
  /** What it failed with. */
  readonly error?: unknown;
};

type Health =
  | { readonly name: 'ok' }
  /** Others have it: it is no fault of the source, and soon over or not. */
  | { readonly name: 'busy'; readonly since: number; readonly until: number; readonly times: number; said: Busy }
  | { readonly name: 'failed'; readonly since: number; readonly said: Failure };

interface Entry extends ListedSource {
  key: string;
  source: Source;
  rank: number;
  health: Health;
  /** How often it failed right after a return to it, since it last was well for long. */
  relapses: number;
  liveSince: number | undefined;
  /** Whether it is read because it was preferred to another that was well. */
  isReturn: boolean;
}

/** What is known of a source of a channel. */
export interface SourceState {
  readonly listed: ListedSource;
  readonly state: Health['name'];
  readonly isReading: boolean;
  /** What it failed with, or who is told to have it. */
  readonly said?: (Failure & Pick<Busy, 'error'>) | undefined;
  /** Until nothing but the failure of all others makes it be read. */
  readonly retryAfterMs?: number | undefined;
}

/** What a new list changed. */
export interface ListChange {
  /** No longer listed, or somewhere else now: what was known of them is of no use. */
  readonly forgotten: readonly ListedSource[];
  /** There is something to read that was not there before. */
  readonly hasNew: boolean;
  /** What is being read is no longer listed. */
  readonly isReadingGone: boolean;
}

/** Doubling ends here, or at the time that the operator chose if that is longer. */
const MAX_RETURN_MS = 600_000;
const MAX_BUSY_MS = 60_000;

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
  #entries: Entry[] = [];
  #reading: Entry | undefined;
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

  update(sources: readonly Omit<ListedSource, 'number'>[]): ListChange {
    const former = this.#entries;
    const isNew = new Set<Entry>();
    this.#entries = sources.map((given) => {
      // One at the same address has only become known by another name, as its device answered.
      const known =
        former.find(({ key }) => key === given.key) ?? former.find(({ source }) => source.url === given.source.url);
      const entry = known ?? this.#fresh(given);
      if (!known) isNew.add(entry);
      return entry;
    });
    const moved = this.#entries.filter(
      (entry, index) => !isNew.has(entry) && this.#put(entry, sources[index] as never),
    );
    const removed = former.filter((entry) => !this.#entries.includes(entry));
    return {
      forgotten: [...removed, ...moved].filter((entry) => entry !== this.#reading),
      hasNew: former.length > 0 && (isNew.size > 0 || moved.length > 0),
      isReadingGone: this.#reading !== undefined && removed.includes(this.#reading),
    };
  }

  /** Those that may be opened now, in the order in which to try them; those of a group are as good as each other. */
  candidates(now: number): readonly (readonly ListedSource[])[] {
    const open = this.#entries.filter((entry) => this.#waitOf(entry, now) === undefined);
    const groups = Map.groupBy(open, (entry) => `${entry.rank} ${this.#isBehind(entry, now)}`);
    return [...groups.values()].sort(([a], [b]) => this.#orderOf(a as Entry, now) - this.#orderOf(b as Entry, now));
  }

  /** Whether any may be opened now, or what keeps the first that may. */
  verdict(now: number): ListVerdict {
    const waits = this.#entries.map((entry) => this.#waitOf(entry, now));
    if (waits.length === 0 || waits.includes(undefined)) return { allowed: true };
    return (waits as Exclude<ListVerdict, { allowed: true }>[]).reduce((least, wait) =>
      wait.retryAfterMs < least.retryAfterMs ? wait : least,
    );
  }

  /**
   * Whether there is another to read: `any` that may be opened and that others do not have, as far as is known, or one that
   * is `well`.
   */
  hasOther(now: number, kind: 'any' | 'well'): boolean {
    return this.#entries.some((entry) => {
      if (entry === this.#reading || this.#waitOf(entry, now) !== undefined) return false;
      return !this.#isBehind(entry, now) || (kind === 'any' && entry.health.name !== 'busy');
    });
  }

  /** The best of those that are preferred to what is read and have not been well for long enough, or for just that long. */
  better(now: number): { readonly listed: ListedSource; readonly isDue: boolean } | undefined {
    const reading = this.#reading;
    if (reading?.liveSince === undefined) return undefined;
    const entry = this.#entries
      .filter(({ rank }) => rank < reading.rank)
      .sort((a, b) => this.#behindMs(a, now) - this.#behindMs(b, now) || a.rank - b.rank)[0];
    if (!entry) return undefined;
    return { listed: entry, isDue: !this.#isBehind(entry, now) && this.#waitOf(entry, now) === undefined };
  }

  /** What was heard of a source without reading it: while it is not well, no time counts. */
  probed({ key }: ListedSource, isWell: boolean, now: number): void {
    const entry = this.#find(key);
    if (isWell || !entry || entry.health.name === 'ok') return;
    this.#transition(entry, { ...entry.health, since: now });
  }

  /** It is being opened. */
  opening({ key }: ListedSource): void {
    const entry = this.#find(key);
    if (!entry) return;
    this.#reading = entry;
    entry.liveSince = undefined;
    const hasOtherThatIsWell = this.#entries.some((other) => other !== entry && other.health.name === 'ok');
    entry.isReturn = entry.health.name !== 'ok' && hasOtherThatIsWell;
  }

  live(now: number): void {
    if (!this.#reading) return;
    this.#reading.liveSince = now;
    this.#transition(this.#reading, { name: 'ok' });
  }

  /** It ended, and was meant to, or for a reason that is none of its own. */
  closed(): void {
    this.#reading = undefined;
  }

  /** It could not be opened, or what it gave ended or was no use. */
  failed(listed: ListedSource, said: Failure, now: number): void {
    const entry = this.#find(listed.key);
    if (this.#reading?.key === listed.key) this.#reading = undefined;
    if (!entry) return;
    const liveMs = entry.liveSince === undefined ? 0 : now - entry.liveSince;
    if (liveMs >= this.#returnMs(entry)) entry.relapses = 0;
    else if (entry.isReturn) entry.relapses++;
    this.#transition(entry, { name: 'failed', since: now, said });
  }

  /** Others have it. Asked again after as long as it says, and later at longer intervals, up to `mostMs`. */
  busy(listed: ListedSource, said: Busy, now: number): void {
    const entry = this.#find(listed.key);
    if (this.#reading?.key === listed.key) this.#reading = undefined;
    if (!entry) return;
    if (entry.isReturn) entry.relapses++;
    const times = entry.health.name === 'busy' ? entry.health.times + 1 : 1;
    const { retryAfterMs, mostMs = MAX_BUSY_MS } = said;
    const waitMs = Math.max(retryAfterMs, Math.min(retryAfterMs * 2 ** (times - 1), mostMs));
    this.#transition(entry, { name: 'busy', since: now, until: now + waitMs, times, said });
  }

  /** Much may have changed: what is busy may be asked now. */
  askAtOnce(now: number): void {
    for (const entry of this.#entries) {
      if (entry.health.name === 'busy') this.#transition(entry, { ...entry.health, until: now });
    }
  }

  isBusy({ key }: ListedSource): boolean {
    return this.#find(key)?.health.name === 'busy';
  }

  states(now: number): readonly SourceState[] {
    return this.#entries.map((entry) => {
      const { health } = entry;
      const base = { listed: entry, state: health.name, isReading: entry === this.#reading };
      if (health.name === 'ok') return base;
      const retryAfterMs = this.#waitOf(entry, now)?.retryAfterMs ?? this.#behindMs(entry, now);
      return { ...base, said: health.said, retryAfterMs };
    });
  }

  #transition(entry: Entry, health: Health): void {
    entry.health = health;
  }

  #find(key: string): Entry | undefined {
    return this.#entries.find((entry) => entry.key === key);
  }

  #fresh({ key, rank, source }: Omit<ListedSource, 'number'>): Entry {
    const number = ++this.#lastNumber;
    const untried = { health: { name: 'ok' }, liveSince: undefined, isReturn: false } as const;
    return { key, number, rank, source, relapses: 0, ...untried };
  }

  /** Returns whether it is somewhere else now. What failed where it was before says nothing about where it is. */
  #put(entry: Entry, { key, rank, source }: ListedSource): boolean {
    const hasMoved = source.url !== entry.source.url;
    entry.key = key;
    entry.rank = rank;
    entry.source = source;
    if (hasMoved && entry !== this.#reading) this.#transition(entry, { name: 'ok' });
    return hasMoved;
  }

  /** Why it may not be opened now, whatever the others are like. */
  #waitOf(entry: Entry, now: number): Exclude<ListVerdict, { allowed: true }> | undefined {
    const { health } = entry;
    if (health.name === 'busy' && health.until > now) {
      return { allowed: false, why: 'busy', retryAfterMs: health.until - now };
    }
    const verdict = this.#gate(entry);
    return verdict.allowed ? undefined : verdict;
  }

  #orderOf(entry: Entry, now: number): number {
    return entry.rank + (this.#isBehind(entry, now) ? this.#entries.length : 0);
  }

  #isBehind(entry: Entry, now: number): boolean {
    return this.#behindMs(entry, now) > 0;
  }

  /** For how long it stands behind those that are well. */
  #behindMs(entry: Entry, now: number): number {
    const { health } = entry;
    return health.name === 'ok' ? 0 : Math.max(0, health.since + this.#returnMs(entry) - now);
  }

  /** How long it must have been well to be preferred again. */
  #returnMs({ relapses }: Entry): number {
    const preferAfterMs = this.#preferAfterMs();
    return Math.min(preferAfterMs * 2 ** relapses, Math.max(MAX_RETURN_MS, preferAfterMs));
  }
}
