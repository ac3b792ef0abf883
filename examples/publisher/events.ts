/** One thing that the log said, as the dashboard shows it. */
export interface LogEvent {
  /** Grows within a run of the publisher; names the run too, as a client may come back to the next one. */
  readonly id: string;
  readonly at: string;
  readonly level: 'info' | 'warn' | 'error';
  readonly text: string;
  readonly channel: string | null;
}

/** A record of the log, redacted by then. */
export interface LogRecord {
  readonly time: string;
  readonly level: string;
  readonly msg?: string | undefined;
  readonly channel?: unknown;
}

/** What came after a point of the log. */
export interface Continuation {
  readonly events: readonly LogEvent[];
  /** How many more there were, which are kept no longer. */
  readonly missed: number;
}

const KEPT = 500;
const LEVELS: Readonly<Record<string, LogEvent['level']>> = {
  info: 'info',
  warn: 'warn',
  error: 'error',
  fatal: 'error',
};

/** The last that the log said at info and above, for those who come later. */
export class EventLog {
  readonly #run: string;
  readonly #limit: number;
  readonly #kept: LogEvent[] = [];
  readonly #listeners = new Set<() => void>();
  /** How many there have been; the last has this number. */
  #count = 0;

  /** @param run tells the runs of the publisher apart */
  constructor(run: string = Date.now().toString(36), limit: number = KEPT) {
    this.#run = run;
    this.#limit = limit;
  }

  /** What `after` takes to give only what is yet to come. */
  get lastId(): string {
    return `${this.#run}-${this.#count}`;
  }

  add({ time, level, msg = '', channel }: LogRecord): void {
    const known = LEVELS[level];
    if (!known) return;
    this.#count += 1;
    const of = typeof channel === 'string' ? channel : null;
    this.#kept.push({ id: this.lastId, at: time, level: known, text: msg, channel: of });
    if (this.#kept.length > this.#limit) this.#kept.shift();
    for (const listener of this.#listeners) listener();
  }

  /** Everything that is kept after an event; all of it if the id is none of this run. */
  after(id: string | undefined): Continuation {
    const [, run, number] = /^(.{1,40})-(\d{1,15})$/.exec(id ?? '') ?? [];
    const isOfThisRun = run === this.#run && Number(number) <= this.#count;
    const fresh = isOfThisRun ? this.#count - Number(number) : this.#kept.length;
    const events = fresh === 0 ? [] : this.#kept.slice(-fresh);
    return { events, missed: fresh - events.length };
  }

  /** Tells of each event once it is kept. */
  listen(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }
}
