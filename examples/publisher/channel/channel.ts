import type { ServerResponse } from 'node:http';
import {
  FanoutHub,
  type FanoutSourceContext,
  type LockHolder,
  RestartRefusedError,
  redactCredentials,
  SourceBusyError,
  type Subscription,
} from 'holdfast';
import { mpegTsJoinPoint, PACKET_BYTES, StreamMonitor } from '../../mpeg-ts/index.ts';
import type { Controls } from '../controls.ts';
import { DIRECTORY_TTL_MS, type DirectoryEntry, isStale, type Source } from '../directory/directory.ts';
import { SourceLostError } from '../errors.ts';
import { blameOf, type Failure, failureOf } from '../failure.ts';
import type { Logger } from '../log.ts';
import { Reopening } from './reopening.ts';
import { Returning } from './returning.ts';
import { namesOf, ranked } from './source-identity.ts';
import { type ListedSource, SourceList, type SourceState } from './source-list.ts';
import { keysOf } from './source-locks.ts';
import { type ReadSource, SourceReader } from './source-reader.ts';
import { SourceWalk } from './source-walk.ts';
import { StreamWatch, WATCH_MS } from './stream-watch.ts';
import { type Switch, Switches, type SwitchReason } from './switches.ts';

/** What all channels have in common. */
export interface ChannelSettings {
  readonly lockDir?: string | undefined;
  readonly closeAfterMs: number;
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

/** What ended it from outside may be about to end this publisher as well. */
const OUTSIDE_RETRY_MS = 1_000;

/**
 * One channel: a hub whose source is the first of its list that can be read, with the lock of it under every name. Nothing
 * runs while nobody watches. Those who watch stay while it goes from one source to another.
 */
export class Channel implements AsyncDisposable {
  readonly hub: FanoutHub;
  readonly #settings: ChannelSettings;
  readonly #log: Logger;
  #entry: DirectoryEntry;
  readonly #list: SourceList;
  readonly #reader: SourceReader;
  readonly #walk: SourceWalk;
  readonly #switches = new Switches();
  readonly #monitor = new StreamMonitor();
  readonly #returning: Returning;
  readonly #reopening: Reopening;
  /** What is known of the locks of its sources without asking anybody. */
  #namedKeys: ReadonlySet<string>;
  #openedAt = 0;
  /** Whether a source is read, or is about to. */
  #isOpen = false;
  #read: ReadSource | undefined;
  #watching: NodeJS.Timeout | undefined;
  #liveSince: Date | undefined;
  #lastError: (Failure & { readonly at: Date }) | undefined;

  constructor(entry: DirectoryEntry, settings: ChannelSettings, log: Logger) {
    const { id } = entry;
    const { controls, preferAfterMs } = settings;
    const { supervisor } = controls;
    this.#entry = entry;
    this.#namedKeys = namedKeys(entry);
    this.#settings = settings;
    this.#log = log.child({ channel: id });
    const gate = (listed: ListedSource) => supervisor.canRestart(this.#walk.serviceOf(listed));
    this.#list = new SourceList(gate, preferAfterMs);
    this.#list.update(ranked(entry.sources));
    this.#reader = new SourceReader(id, { ...settings, pool: controls.pool }, this.#log);
    this.#walk = new SourceWalk({
      ...{ id, supervisor, list: this.#list, reader: this.#reader, switches: this.#switches, log: this.#log },
      ended: (error) => this.#endedUntold(error),
    });
    const known = (source: Source) => this.#reader.known(source);
    const goBack = (to: ListedSource) => this.#goBack(to);
    this.#returning = new Returning({ list: this.#list, known, preferAfterMs, goBack });
    this.#reopening = new Reopening(id, () => this.#list.verdict(performance.now()), this.#log);
    this.hub = this.#makeHub();
    this.#listen();
  }

  get entry(): DirectoryEntry {
    return this.#entry;
  }

  /** What is read goes on while it is listed. */
  set entry(entry: DirectoryEntry) {
    this.#entry = entry;
    this.#namedKeys = namedKeys(entry);
    const { forgotten, hasNew, isReadingGone } = this.#list.update(ranked(entry.sources));
    const { supervisor } = this.#settings.controls;
    const done = Promise.allSettled(forgotten.map((listed) => supervisor.stop(this.#walk.serviceOf(listed))));
    if (isReadingGone) this.#leave('removed');
    else if (hasNew && !this.#isOpen) {
      this.#reader.forget();
      this.#lastError = undefined;
      void done.then(() => this.#openAnew());
    }
  }

  get liveSince(): Date | undefined {
    return this.hub.state === 'live' ? this.#liveSince : undefined;
  }

  /** Why the last opening failed, until one succeeds. */
  get lastError(): (Failure & { readonly at: Date }) | undefined {
    return this.#lastError;
  }

  /** What is being read: its address without credentials, its place in the list, and its tuner if that is known. */
  get reading(): { readonly source: string; readonly resource: string | null; readonly index: number } | undefined {
    const { reading } = this.#list;
    if (!reading || !this.#read) return undefined;
    const index = this.#list.all.findIndex(({ key }) => key === reading.key);
    return { source: redactCredentials(reading.source.url), resource: this.#read.resource ?? null, index };
  }

  /** In order of preference. */
  get sources(): readonly SourceView[] {
    return this.#list.states(performance.now()).map(viewOf);
  }

  /** The last changes from one source to another, and how many there were for each reason. */
  get switches(): readonly Switch[] {
    return this.#switches.history;
  }

  get switchCounts(): ReadonlyMap<SwitchReason, number> {
    return this.#switches.counts;
  }

  /** Packets that were missing in what was read, since the channel was made. */
  get continuityErrors(): number {
    return this.#monitor.continuityErrors;
  }

  get bitsPerSecond(): number {
    return this.#monitor.bitsPerSecond(performance.now());
  }

  /**
   * A tuner or holder that is busy now may be free for the next viewer. A channel that could not be read is not offered,
   * for as long as the directory believes anything: only another viewer can find out that it is well again.
   */
  get isAvailable(): boolean {
    return this.#entry.available !== false && !isStale(this.#entry) && !this.#hasJustFailed && !this.refusal;
  }

  get #hasJustFailed(): boolean {
    const { status, at = 0 } = this.#lastError ?? {};
    return (status === 502 || status === 504) && Date.now() - Number(at) < DIRECTORY_TTL_MS;
  }

  /** Why nobody who comes now would see anything for a while; undefined if it can be tried, or runs. */
  get refusal(): RestartRefusedError | undefined {
    const verdict = this.#list.verdict(performance.now());
    if (this.#isOpen || verdict.allowed || verdict.why === 'busy') return undefined;
    return new RestartRefusedError(this.#entry.id, verdict.why, verdict.retryAfterMs);
  }

  /** What a viewer is told who comes while it is refused. */
  get refused(): Failure | undefined {
    const { refusal } = this;
    if (!refusal) return undefined;
    const failure = failureOf(refusal);
    return this.#lastError
      ? { ...failure, detail: `${failure.detail}; it failed with: ${this.#lastError.detail}` }
      : failure;
  }

  /** What keeps those who watch it waiting may be over by now: one who comes is not told before that was tried. */
  watch(response: ServerResponse): Subscription {
    this.#reopening.askAtOnce();
    this.#list.askAtOnce(performance.now());
    return this.hub.pipe(response);
  }

  /** Whether a lock is of a source of this channel, by what is known so far. */
  isSourceOf({ key }: LockHolder): boolean {
    return this.#namedKeys.has(key) || this.#reader.openedKeys.has(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { supervisor } = this.#settings.controls;
    this.#unwatch();
    // Together, so that a channel which gets the same id meanwhile is left alone.
    const stops = this.#list.all.map((listed) => supervisor.stop(this.#walk.serviceOf(listed)));
    await Promise.all([...stops, this.hub.close()]);
  }

  #makeHub(): FanoutHub {
    const { startTimeoutMs, closeAfterMs } = this.#settings;
    const joinPoint = mpegTsJoinPoint();
    return new FanoutHub({
      ...{ name: this.#entry.id, align: PACKET_BYTES, startTimeoutMs, closeAfterMs },
      joinPoint: (slice) => {
        this.#monitor.push(slice, performance.now());
        return joinPoint(slice);
      },
      source: (context) => this.#open(context),
      reopen: () => this.#reopening.ask(),
    });
  }

  async #open({ signal }: FanoutSourceContext): Promise<ReadSource> {
    const { startTimeoutMs } = this.#settings;
    this.#isOpen = true;
    try {
      const read = await this.#walk.open(this.#entry.name, { signal, startTimeoutMs });
      this.#read = read;
      void read.closed.then(() => this.#ended(read));
      return read;
    } catch (error) {
      this.#isOpen = false;
      throw error;
    }
  }

  #ended(read: ReadSource): void {
    if (this.#read !== read) return;
    this.#read = undefined;
    this.#isOpen = false;
    this.#closed();
  }

  /** Of which the hub does not tell: an end that was complete, or that somebody outside asked for. */
  #endedUntold(error: unknown): void {
    if (this.hub.state === 'closed') return;
    if (error === undefined) this.#reopening.postpone({ retryAfterMs: OUTSIDE_RETRY_MS });
    else this.#failed(error);
  }

  /** For viewers who wait; an opening that fails tells of itself. */
  #openAnew(): void {
    if (this.#isOpen) return;
    this.#reopening.askAtOnce();
    if (this.hub.state === 'opening') this.hub.restart().catch(() => {});
  }

  #goBack(to: ListedSource): void {
    const { id } = this.#entry;
    this.#log.info(`channel ${id}: ${redactCredentials(to.source.url)} is well again, going back to it`);
    this.#leave('preferred');
  }

  /** For another source: no fault of the one that is read, so that it may be read again at any time. */
  #leave(why: SwitchReason): void {
    const { reading } = this.#list;
    if (!reading) return;
    this.#switches.leave({ key: reading.key, from: redactCredentials(reading.source.url), why });
    this.hub.restart(new Error(`another source: ${why}`)).catch(() => {});
  }

  #look(watch: StreamWatch): void {
    const now = performance.now();
    const trouble = watch.look(now, (kind) => this.#list.hasOther(now, kind));
    if (!trouble) {
      this.#returning.look(now);
      return;
    }
    const { url = '' } = this.#list.reading?.source ?? {};
    this.#unwatch();
    this.#read?.lose(new SourceLostError(url, trouble));
  }

  #watchStream(): void {
    this.#unwatch();
    const watch = new StreamWatch(this.#monitor, this.#settings);
    this.#watching = setInterval(() => this.#look(watch), WATCH_MS).unref();
  }

  #unwatch(): void {
    clearInterval(this.#watching);
    this.#returning.stop();
  }

  #listen(): void {
    this.hub.on('open', () => {
      // One that is wanted again while it closes was never idle.
      this.#closed();
      this.#openedAt = performance.now();
      this.#monitor.restart(this.#openedAt);
      this.#reopening.opened();
    });
    this.hub.on('live', () => this.#live());
    this.hub.on('idle', () => {
      this.#closed();
      this.#switches.forget();
    });
    this.hub.on('failure', (error) => this.#failed(error));
    this.hub.on('lag', (_, error) =>
      this.#log.warn({ lagBytes: error.lagBytes }, `channel ${this.#entry.id}: ${error.message}`),
    );
  }

  #live(): void {
    const { id } = this.#entry;
    const now = performance.now();
    this.#liveSince = new Date();
    this.#lastError = undefined;
    this.#list.live(now);
    this.#log.info(`channel ${id}: live, first bytes after ${Math.round(now - this.#openedAt)} ms`);
    this.#watchStream();
    const { reading } = this.#list;
    if (!reading) return;
    const made = this.#switches.arrive({ key: reading.key, to: redactCredentials(reading.source.url) });
    if (made)
      this.#log.info({ why: made.why }, `channel ${id}: switched from ${made.from} to ${made.to} (${made.why})`);
  }

  #closed(): void {
    this.#unwatch();
    if (this.#liveSince) this.#log.info(`channel ${this.#entry.id}: closed`);
    this.#liveSince = undefined;
  }

  #failed(error: unknown): void {
    const failure = failureOf(error);
    this.#lastError = { ...failure, at: new Date() };
    if (blameOf(error) === 'here') this.#reopening.postpone(failure);
    const { holder, detail, title } = failure;
    const hasViewers = this.hub.subscribers > 0;
    const says = error instanceof SourceBusyError && !hasViewers ? `skipped, ${detail}` : `${title}: ${detail}`;
    this.#log.warn({ status: failure.status, ...(holder && { holder }) }, `channel ${this.#entry.id}: ${says}`);
  }
}

function viewOf({ listed, state, isReading, said, retryAfterMs }: SourceState): SourceView {
  const until = retryAfterMs ? { until: new Date(Date.now() + retryAfterMs) } : {};
  return {
    source: redactCredentials(listed.source.url),
    state,
    isReading,
    ...(said && { why: said.detail }),
    ...until,
  };
}

function namedKeys({ sources }: DirectoryEntry): ReadonlySet<string> {
  return keysOf(sources.flatMap(({ url, device }) => namesOf(url, device)));
}
