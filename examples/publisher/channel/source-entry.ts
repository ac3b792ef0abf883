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

export type Placed = Omit<ListedSource, 'number'>;

/** What the guards of a source say of another opening of it. */
export type Gate = (
  source: ListedSource,
) => { readonly allowed: true } | { readonly allowed: false; readonly why: Guard; readonly retryAfterMs: number };

type Guard = RestartRefusedError['why'];

/** Why a source may not be opened now. */
export interface Wait {
  readonly allowed: false;
  readonly why: Guard | 'busy';
  readonly retryAfterMs: number;
}

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

/** Doubling ends here, or at the time that the operator chose if that is longer. */
const MAX_RETURN_MS = 600_000;
const MAX_BUSY_MS = 60_000;
const OK: Health = { name: 'ok' };

export interface EntryTerms {
  readonly gate: Gate;
  /** Asked each time, as it can change. */
  readonly preferAfterMs: () => number;
}

/** One source of a list, and how it has been. Pure: `now` is given. */
export class SourceEntry implements ListedSource {
  readonly number: number;
  readonly #terms: EntryTerms;
  #placed: Placed;
  #health: Health = OK;
  /** How often it failed right after a return to it, since it last was well for long. */
  #relapses = 0;
  #liveSince: number | undefined;
  /** Whether it is read because it was preferred to another that was well. */
  #isReturn = false;

  constructor(placed: Placed, number: number, terms: EntryTerms) {
    this.#placed = placed;
    this.number = number;
    this.#terms = terms;
  }

  get key(): string {
    return this.#placed.key;
  }

  get rank(): number {
    return this.#placed.rank;
  }

  get source(): Source {
    return this.#placed.source;
  }

  get state(): Health['name'] {
    return this.#health.name;
  }

  get isLive(): boolean {
    return this.#liveSince !== undefined;
  }

  /** It has another place in the list, or another address. */
  put(placed: Placed): void {
    this.#placed = placed;
  }

  /** What failed where it was before says nothing about where it is. */
  forgive(): void {
    this.#relapses = 0;
    this.#transition(OK);
  }

  opening(isReturn: boolean): void {
    this.#liveSince = undefined;
    this.#isReturn = isReturn;
  }

  live(now: number): void {
    this.#liveSince = now;
    this.#transition(OK);
  }

  /** It could not be opened, or what it gave ended or was no use. */
  failed(said: Failure, now: number): void {
    const liveMs = this.#liveSince === undefined ? 0 : now - this.#liveSince;
    if (liveMs >= this.#returnMs) this.#relapses = 0;
    else if (this.#isReturn) this.#relapses++;
    this.#transition({ name: 'failed', since: now, said });
  }

  /** Others have it. Asked again after as long as it says, and later at longer intervals, up to `mostMs`. */
  busy(said: Busy, now: number): void {
    if (this.#isReturn) this.#relapses++;
    const times = this.#health.name === 'busy' ? this.#health.times + 1 : 1;
    const { retryAfterMs, mostMs = MAX_BUSY_MS } = said;
    const waitMs = Math.max(retryAfterMs, Math.min(retryAfterMs * 2 ** (times - 1), mostMs));
    this.#transition({ name: 'busy', since: now, until: now + waitMs, times, said });
  }

  /** It was heard not to be well: the time for which it has been begins anew. */
  unwell(now: number): void {
    if (this.#health.name !== 'ok') this.#transition({ ...this.#health, since: now });
  }

  /** Much may have changed: if it is busy it may be asked now. */
  askAtOnce(now: number): void {
    if (this.#health.name === 'busy') this.#transition({ ...this.#health, until: now });
  }

  /** Why it may not be opened now, whatever the others are like. */
  wait(now: number): Wait | undefined {
    const health = this.#health;
    if (health.name === 'busy' && health.until > now) {
      return { allowed: false, why: 'busy', retryAfterMs: health.until - now };
    }
    const verdict = this.#terms.gate(this);
    return verdict.allowed ? undefined : verdict;
  }

  isBehind(now: number): boolean {
    return this.behindMs(now) > 0;
  }

  /** For how long it stands behind those that are well. */
  behindMs(now: number): number {
    return this.#health.name === 'ok' ? 0 : Math.max(0, this.#health.since + this.#returnMs - now);
  }

  stateAt(now: number, isReading: boolean): SourceState {
    const base = { listed: this, state: this.state, isReading };
    if (this.#health.name === 'ok') return base;
    return { ...base, said: this.#health.said, retryAfterMs: this.wait(now)?.retryAfterMs ?? this.behindMs(now) };
  }

  /** How long it must have been well to be preferred again. */
  get #returnMs(): number {
    const preferAfterMs = this.#terms.preferAfterMs();
    return Math.min(preferAfterMs * 2 ** this.#relapses, Math.max(MAX_RETURN_MS, preferAfterMs));
  }

  #transition(health: Health): void {
    this.#health = health;
  }
}
