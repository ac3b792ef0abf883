import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import { replaceFile } from '../state/json-file.ts';
import { type KeptGuide, keptGuide, takeIn } from './guide-intake.ts';
import type { GuideSource, Validators } from './guide-source.ts';
import { type Limits, TimeLimit } from './time-limit.ts';

export interface PullTimes {
  /** A document that does not go on for so long has failed. @default 30 s */
  readonly stallTimeoutMs?: number | undefined;
  /** One that takes longer altogether has failed. @default 10 minutes */
  readonly timeoutMs?: number | undefined;
  /** The first pause after a failure, unless pulls are more frequent; it doubles with each, up to an hour. @default 60 s */
  readonly backoffMs?: number | undefined;
}

export interface PullListener {
  /** There is another document; also when the first comes from the disk. */
  changed(): void;
  pulled(source: GuideSource, guide: KeptGuide): void;
  failed(source: GuideSource, error: unknown, retryAfterMs: number): void;
}

interface Times extends Limits {
  readonly backoffMs: number;
}

/** What is to be remembered of a pull beside the document. */
export interface PullRecord extends Validators {
  readonly pulledAt: number;
  readonly nextAt: number;
  /** What was asked for, so that it can be compared and not be read: it may hold credentials. */
  readonly asks?: string | undefined;
}

/** The records of all sources, over a restart. */
export interface PullRecords {
  get(key: string): PullRecord | undefined;
  set(key: string, record: PullRecord): void;
}

const LONGEST_BACKOFF_MS = 3_600_000;
/** The longest pause of a source that is pulled more often than that. */
const SHORT_BACKOFF_MS = 30_000;
/** Timers can't be longer than that. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** One source of the guide: pulled on its own clock, the last good document kept whatever happens. */
export class GuidePull implements AsyncDisposable {
  readonly source: GuideSource;
  readonly #path: string;
  readonly #records: PullRecords;
  readonly #listener: PullListener;
  readonly #log: Logger;
  readonly #times: Times;
  readonly #closing = new AbortController();
  #kept: KeptGuide | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The reading of what was kept, then each pull. */
  #running: Promise<void> | undefined;
  #failures = 0;

  constructor(
    source: GuideSource,
    { dir, records, listener, log }: { dir: string; records: PullRecords; listener: PullListener; log: Logger },
    { stallTimeoutMs = 30_000, timeoutMs = 600_000, backoffMs = 60_000 }: PullTimes = {},
  ) {
    this.source = source;
    this.#path = join(dir, `${idOf(source)}.xml.gz`);
    this.#records = records;
    this.#listener = listener;
    this.#log = log;
    this.#times = { stallTimeoutMs, timeoutMs, backoffMs };
  }

  get kept(): KeptGuide | undefined {
    return this.#kept;
  }

  /** When the document was last said to be the newest, in ms since 1970. */
  get pulledAt(): number | undefined {
    return this.#kept && this.#records.get(idOf(this.source))?.pulledAt;
  }

  /**
   * Resolves when what was kept of it is there; pulls go on after that.
   *
   * @param kept where that is in memory: of one with the same key, which has ended
   */
  start(kept?: KeptGuide): Promise<void> {
    this.#running = this.#begin(kept);
    return this.#running;
  }

  /** Resolves when nothing of it is read or written any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #begin(kept: KeptGuide | undefined): Promise<void> {
    this.#kept = kept ?? (await this.#fromDisk());
    if (this.#kept) this.#listener.changed();
    const nextAt = this.#before?.nextAt ?? 0;
    // It may have been written by a clock that was wrong.
    this.#pullIn(Math.min(nextAt - Date.now(), this.source.nextPullMs()));
  }

  /** The pull that what was kept is of, if it asked for the same. */
  get #before(): PullRecord | undefined {
    const record = this.#kept && this.#records.get(idOf(this.source));
    return record?.asks === asksOf(this.source) ? record : undefined;
  }

  #pullIn(ms: number): void {
    if (this.#closing.signal.aborted) return;
    const pull = () => {
      this.#running = this.#pull();
    };
    this.#timer = setTimeout(pull, Math.min(Math.max(ms, 0), LONGEST_TIMER_MS));
    this.#timer.unref();
  }

  async #pull(): Promise<void> {
    try {
      const validators = await this.#takeIn();
      this.#failures = 0;
      const nextMs = this.source.nextPullMs();
      const now = { pulledAt: Date.now(), nextAt: Date.now() + nextMs, asks: asksOf(this.source) };
      this.#records.set(idOf(this.source), { ...validators, ...now });
      this.#pullIn(nextMs);
    } catch (error) {
      const retryAfterMs = this.#backoff();
      if (!this.#closing.signal.aborted) this.#listener.failed(this.source, error, retryAfterMs);
      this.#pullIn(retryAfterMs);
    }
  }

  #backoff(): number {
    const usualMs = this.source.nextPullMs();
    const longestMs = Math.min(Math.max(usualMs, SHORT_BACKOFF_MS), LONGEST_BACKOFF_MS);
    return Math.min(Math.min(this.#times.backoffMs, usualMs) * 2 ** this.#failures++, longestMs);
  }

  async #takeIn(): Promise<Validators> {
    const { etag, lastModified }: Validators = this.#before ?? {};
    using limit = new TimeLimit(this.#times, this.#closing.signal);
    const pulled = await limit.race(this.source.pull({ etag, lastModified }, limit.signal));
    if (!pulled) return { etag, lastModified };
    const kept = await takeIn(limit.guard(pulled.bytes), this.#kept, {
      nowMs: Date.now(),
      signal: this.#closing.signal,
    });
    limit.signal.throwIfAborted();
    this.#kept = kept;
    await this.#toDisk(kept.gzip);
    this.#listener.pulled(this.source, kept);
    this.#listener.changed();
    return { etag: pulled.etag, lastModified: pulled.lastModified };
  }

  async #fromDisk(): Promise<KeptGuide | undefined> {
    try {
      return await keptGuide(await readFile(this.#path), this.#closing.signal);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const isNews = code !== 'ENOENT' && !this.#closing.signal.aborted;
      if (isNews) this.#log.warn(`guide ${this.source.name}: ${this.#path} can't be used: ${message}`);
      return undefined;
    }
  }

  /** In memory it is all the same. */
  async #toDisk(gzip: Buffer): Promise<void> {
    try {
      await replaceFile(this.#path, gzip);
    } catch (error) {
      const advice = 'it would be missing after a restart; see --state-dir';
      this.#log.warn(
        `guide ${this.source.name}: ${this.#path} can't be written: ${(error as Error).message}; ${advice}`,
      );
    }
  }
}

/** Of a key, which may hold credentials, nothing is to be seen in names of files. */
export function idOf({ key }: GuideSource): string {
  return digestOf(key);
}

function asksOf({ asks }: GuideSource): string | undefined {
  return asks === undefined ? undefined : digestOf(asks);
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
