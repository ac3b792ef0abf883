import { redactCredentials } from 'holdfast';
import { StreamMonitor } from '../../mpeg-ts/index.ts';
import type { Controls } from '../controls.ts';
import type { Source } from '../directory/directory.ts';
import { SourceLostError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { toTheSecond } from '../to-the-second.ts';
import { Returning } from './returning.ts';
import type { ListedSource, SourceState } from './source-entry.ts';
import { ranked } from './source-identity.ts';
import { SourceList } from './source-list.ts';
import { type ReadSource, SourceReader } from './source-reader.ts';
import { SourceWalk } from './source-walk.ts';
import { StreamWatch, WATCH_MS } from './stream-watch.ts';
import { type Switch, Switches, type SwitchReason } from './switches.ts';

export interface ChannelSourceSettings {
  readonly lockDir?: string | undefined;
  readonly startTimeoutMs: number;
  /** A live source that gives nothing for so long is over. */
  readonly stallTimeoutMs: number;
  /** And one of a channel that has another which may be tried. */
  readonly failoverAfterMs: number;
  /** How long a better source must have been well to be read again. */
  readonly preferAfterMs: number;
  /** The ffmpeg to run; throws an error that says how to get one. */
  readonly ffmpeg: () => string;
  readonly controls: Controls;
}

/** What the channel does for what it reads. */
export interface ChannelSourceOwner {
  /** Of requests for a source. */
  headers(): Readonly<Record<string, string>>;
  /** Nothing of the source is left; it may be opened again. */
  over(): void;
  /** It ended in a way of which the hub does not tell; without an error if somebody outside told it to. */
  ended(error: unknown): void;
  /** It is to be opened anew, which reads another. */
  reopen(reason: Error): void;
}

/** What is known of a source of a channel; no credential is in it. */
export interface SourceView {
  readonly source: string;
  readonly state: SourceState['state'];
  readonly isReading: boolean;
  /** What it failed with. */
  readonly why?: string;
  /** Until then it is read only if all others fail. */
  readonly until?: Date;
}

/** What is being read. */
export interface ReadingView {
  /** Without credentials. */
  readonly source: string;
  /** The tuner, if that is known. */
  readonly resource: string | null;
  /** Its place in the order of preference. */
  readonly index: number;
}

/** What a channel reads: the first of its sources that can be, watched while it is live, and left when another is better. */
export class ChannelSource {
  readonly list: SourceList;
  readonly switches: Switches = new Switches();
  readonly monitor: StreamMonitor = new StreamMonitor();
  readonly #id: string;
  readonly #settings: ChannelSourceSettings;
  readonly #owner: ChannelSourceOwner;
  readonly #log: Logger;
  readonly #reader: SourceReader;
  readonly #walk: SourceWalk;
  readonly #returning: Returning;
  /** No longer listed, but not closed yet: what is known of it is forgotten then. */
  #leaving: ListedSource | undefined;
  #isOpen = false;
  #read: ReadSource | undefined;
  #watching: NodeJS.Timeout | undefined;

  constructor(id: string, settings: ChannelSourceSettings, owner: ChannelSourceOwner, log: Logger) {
    const { supervisor } = settings.controls;
    const preferAfterMs = () => settings.preferAfterMs;
    this.#id = id;
    this.#settings = settings;
    this.#owner = owner;
    this.#log = log;
    const list = new SourceList((listed) => supervisor.canRestart(this.#walk.serviceOf(listed)), preferAfterMs);
    const reader = new SourceReader(id, settings, log, () => owner.headers());
    const ended = (error: unknown) => owner.ended(error);
    this.list = list;
    this.#reader = reader;
    this.#walk = new SourceWalk({ ...{ id, supervisor, list, reader, log, ended }, switches: this.switches });
    const goBack = (to: ListedSource) => this.#goBack(to);
    this.#returning = new Returning({ list, reader, preferAfterMs, goBack });
  }

  /** Whether something is read, or is about to. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  get reading(): ReadingView | undefined {
    const { reading } = this.list;
    if (!reading || !this.#read) return undefined;
    const index = this.list.all.findIndex(({ key }) => key === reading.key);
    return { source: redactCredentials(reading.source.url), resource: this.#read.resource ?? null, index };
  }

  get views(): readonly SourceView[] {
    return this.list.states(performance.now()).map(viewOf);
  }

  /** The locks of what was opened last, under names that only its opening found out. */
  get openedKeys(): ReadonlySet<string> {
    return this.#reader.openedKeys;
  }

  /** What is read goes on while it is listed. Resolves to whether who waits should try again. */
  async update(sources: readonly Source[]): Promise<boolean> {
    const { forgotten, hasNew, isReadingGone } = this.list.update(ranked(sources));
    const forgetting = Promise.allSettled(forgotten.map((listed) => this.#forget(listed)));
    if (isReadingGone) {
      this.#leaving = this.list.reading;
      this.#leave('removed');
    }
    if (isReadingGone || this.#isOpen || !hasNew) return false;
    this.#reader.forget();
    await forgetting;
    return !this.#isOpen;
  }

  /** What failed before, or was busy, counts for nothing any more. */
  async forgive(): Promise<void> {
    const { all, reading } = this.list;
    this.list.forgive();
    await Promise.allSettled(all.filter((listed) => listed !== reading).map((listed) => this.#forget(listed)));
  }

  async open(name: string, signal: AbortSignal): Promise<ReadSource> {
    this.#isOpen = true;
    this.monitor.restart(performance.now());
    try {
      const read = await this.#walk.open(name, { signal, startTimeoutMs: this.#settings.startTimeoutMs });
      this.#read = read;
      void read.closed.then(() => this.#over(read));
      return read;
    } catch (error) {
      this.#isOpen = false;
      void this.#forgetLeaving().catch(() => {});
      throw error;
    }
  }

  /** Its first bytes came. Returns what it is a switch from and to, if it is one. */
  live(): Switch | undefined {
    const { reading } = this.list;
    this.list.live(performance.now());
    this.#watch();
    return reading && this.switches.arrive({ key: reading.key, to: redactCredentials(reading.source.url) });
  }

  unwatch(): void {
    clearInterval(this.#watching);
    this.#returning.stop();
  }

  /** Ends what is read, and forgets what is known. */
  async stop(): Promise<void> {
    this.unwatch();
    await Promise.all([...this.list.all.map((listed) => this.#forget(listed)), this.#forgetLeaving()]);
  }

  #forget(listed: ListedSource): Promise<void> {
    return this.#settings.controls.supervisor.stop(this.#walk.serviceOf(listed));
  }

  /** Once: what has its number by then is another's, of a channel that took the id. */
  async #forgetLeaving(): Promise<void> {
    const leaving = this.#leaving;
    this.#leaving = undefined;
    if (leaving) await this.#forget(leaving);
  }

  #over(read: ReadSource): void {
    if (this.#read !== read) return;
    this.#read = undefined;
    this.#isOpen = false;
    void this.#forgetLeaving().catch(() => {});
    this.#owner.over();
  }

  #watch(): void {
    this.unwatch();
    const watch = new StreamWatch(this.monitor, this.#settings);
    this.#watching = setInterval(() => this.#look(watch), WATCH_MS).unref();
  }

  #look(watch: StreamWatch): void {
    const now = performance.now();
    const trouble = watch.look(now, (kind) => this.list.hasOther(now, kind));
    if (!trouble) {
      this.#returning.look(now);
      return;
    }
    const { url = '' } = this.list.reading?.source ?? {};
    this.unwatch();
    this.#read?.lose(new SourceLostError(url, trouble));
  }

  #goBack(to: ListedSource): void {
    this.#log.info(`channel ${this.#id}: ${redactCredentials(to.source.url)} is well again, going back to it`);
    this.#leave('preferred');
  }

  /** For another source: no fault of the one that is read, so that it may be read again at any time. */
  #leave(why: SwitchReason): void {
    const { reading } = this.list;
    if (!reading) return;
    this.switches.leave({ key: reading.key, from: redactCredentials(reading.source.url), why });
    this.#owner.reopen(new Error(`another source: ${why}`));
  }
}

function viewOf({ listed, state, isReading, said, retryAfterMs }: SourceState): SourceView {
  const until = retryAfterMs ? { until: toTheSecond(retryAfterMs) } : {};
  return {
    source: redactCredentials(listed.source.url),
    state,
    isReading,
    ...(said && { why: said.detail }),
    ...until,
  };
}
