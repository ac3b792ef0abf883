import type { ServerResponse } from 'node:http';
import { FanoutHub, type LockHolder, RestartRefusedError, SourceBusyError, type Subscription } from 'holdfast';
import { mpegTsJoinPoint, PACKET_BYTES, ProgramTables } from '../../mpeg-ts/index.ts';
import type { Profile } from '../config/schema.ts';
import { type DirectoryEntry, isStale } from '../directory/directory.ts';
import type { Failure } from '../failure.ts';
import { type Blame, blameOf, isFaultOfSource } from '../failure-kinds.ts';
import type { Logger } from '../log.ts';
import { Relay } from '../pipeline/relay.ts';
import type { RenditionSettings } from '../pipeline/rendition.ts';
import { Renditions } from '../pipeline/renditions.ts';
import { OUTSIDE_RETRY_MS } from '../pipeline/told-to-end.ts';
import {
  ChannelSource,
  type ChannelSourceOwner,
  type ChannelSourceSettings,
  type ReadingView,
  type SourceView,
} from './channel-source.ts';
import { LastFailure } from './last-failure.ts';
import { Reopening } from './reopening.ts';
import { namesOf } from './source-identity.ts';
import { keysOf } from './source-locks.ts';
import type { Switch, SwitchReason } from './switches.ts';

/** What all channels have in common. */
export interface ChannelSettings extends ChannelSourceSettings, RenditionSettings {
  readonly closeAfterMs: number;
}

/** Of which neither the list of sources nor the supervisor takes note. */
const UNNOTED: readonly Blame[] = ['here', 'process', 'nobody'];

/**
 * One channel: a hub whose source is the first of its list that can be read, with the lock of it under every name. Nothing
 * runs while nobody watches. Those who watch stay while it goes from one source to another.
 */
export class Channel implements AsyncDisposable {
  readonly hub: FanoutHub;
  /** What it is encoded to while somebody watches that. */
  readonly renditions: Renditions;
  readonly relay: Relay;
  readonly #log: Logger;
  #entry: DirectoryEntry;
  readonly #source: ChannelSource;
  readonly #reopening: Reopening;
  readonly #tables = new ProgramTables();
  /** What is known of the locks of its sources without asking anybody. */
  #namedKeys: ReadonlySet<string>;
  readonly #lastFailure = new LastFailure();
  #openedAt = 0;
  #liveSince: Date | undefined;

  constructor(entry: DirectoryEntry, settings: ChannelSettings, log: Logger) {
    this.#entry = entry;
    this.#namedKeys = namedKeys(entry);
    this.#log = log.child({ channel: entry.id });
    this.relay = new Relay(entry.id);
    this.#source = new ChannelSource(entry.id, settings, this.#sourceOwner(), this.#log);
    void this.#source.update(entry.sources);
    this.#reopening = new Reopening(entry.id, () => this.#source.list.verdict(performance.now()), this.#log);
    this.hub = this.#makeHub(settings);
    this.renditions = new Renditions(this, settings, this.#log);
    this.#listen();
  }

  get entry(): DirectoryEntry {
    return this.#entry;
  }

  /** What is read goes on while it is listed. */
  set entry(entry: DirectoryEntry) {
    this.#entry = entry;
    this.#namedKeys = namedKeys(entry);
    void this.#source.update(entry.sources).then((isWorthTrying) => isWorthTrying && this.#openAnew());
  }

  get liveSince(): Date | undefined {
    return this.hub.state === 'live' ? this.#liveSince : undefined;
  }

  /** Why the last opening failed, until one succeeds. */
  get lastError(): (Failure & { readonly at: Date }) | undefined {
    return this.#lastFailure.said;
  }

  get reading(): ReadingView | undefined {
    return this.#source.reading;
  }

  /** In order of preference. */
  get sources(): readonly SourceView[] {
    return this.#source.views;
  }

  /** The last changes from one source to another. */
  get switches(): readonly Switch[] {
    return this.#source.switches.history;
  }

  /** How many there were since the channel was made. */
  get switchCounts(): ReadonlyMap<SwitchReason, number> {
    return this.#source.switches.counts;
  }

  /** Packets that were missing in what was read, since the channel was made. */
  get continuityErrors(): number {
    return this.#source.monitor.continuityErrors;
  }

  /** What its pictures and its sound are encoded with, as it was read last; empty as long as that is not known. */
  get codecs(): readonly string[] {
    return this.#tables.codecs;
  }

  /** A tuner or holder that is busy now may be free for the next viewer. */
  get isAvailable(): boolean {
    return this.#entry.available !== false && !isStale(this.#entry) && !this.#lastFailure.isBelieved && !this.refusal;
  }

  /** Why nobody who comes now would see anything for a while; undefined if it can be tried, or runs. */
  get refusal(): RestartRefusedError | undefined {
    const verdict = this.#source.list.verdict(performance.now());
    if (this.#source.isOpen || verdict.allowed || verdict.why === 'busy') return undefined;
    return new RestartRefusedError(this.#entry.id, verdict.why, verdict.retryAfterMs);
  }

  /** What a viewer is told who comes while it is refused. */
  get refused(): Failure | undefined {
    const { refusal } = this;
    return refusal && this.#lastFailure.explain(refusal);
  }

  /** What keeps those who watch it waiting may be over by now: one who comes is not told before that was tried. */
  watch(response: ServerResponse): Subscription {
    this.askAtOnce();
    return this.hub.pipe(response);
  }

  /** For who turns it into something else, and can do without what it is too slow for. */
  feed(signal: AbortSignal, profile: Profile = 'copy'): Subscription & AsyncIterable<Buffer> {
    return this.rendition(profile).subscribe({ signal, onLag: 'skip' });
  }

  /** The stream of a profile, encoded once however many watch it; `copy` is the stream as it comes. */
  rendition(profile: Profile): FanoutHub {
    return profile === 'copy' ? this.hub : this.renditions.get(profile).hub;
  }

  /** Somebody came. What only opens itself again waits for as long as it is told to. */
  askAtOnce(): void {
    this.#reopening.askAtOnce();
    this.#source.list.askAtOnce(performance.now());
  }

  /** Opens it anew, with the first of its sources that can be read, whatever failed before. Those who watch stay. */
  restart(reason: Error): void {
    void this.#source.forgive().then(() => this.#openAnew(reason));
  }

  /** Whether a lock is of a source of this channel, by what is known so far. */
  isSourceOf({ key }: LockHolder): boolean {
    return this.#namedKeys.has(key) || this.#source.openedKeys.has(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Together, so that a channel which gets the same id meanwhile is left alone.
    await Promise.all([this.#source.stop(), this.hub.close(), this.renditions[Symbol.asyncDispose]()]);
  }

  #makeHub({ startTimeoutMs, closeAfterMs }: ChannelSettings): FanoutHub {
    const joinPoint = mpegTsJoinPoint(this.#tables);
    return new FanoutHub({
      ...{ name: this.#entry.id, align: PACKET_BYTES, startTimeoutMs, closeAfterMs },
      joinPoint: (slice) => {
        this.#source.monitor.push(slice, performance.now());
        return joinPoint(slice);
      },
      source: ({ signal }) => this.#source.open(this.#entry.name, signal),
      reopen: () => this.#reopening.ask(),
    });
  }

  #sourceOwner(): ChannelSourceOwner {
    return {
      headers: () => this.relay.headers,
      over: () => this.#closed(),
      ended: (error) => {
        if (this.hub.state === 'closed') return;
        if (error !== undefined) this.#failed(error);
        if (error === undefined || !isFaultOfSource(error))
          this.#reopening.postpone({ retryAfterMs: OUTSIDE_RETRY_MS });
      },
      reopen: (reason) => void this.hub.restart(reason).catch(() => {}),
    };
  }

  /** For those who watch, if there are any; an opening that fails tells of itself. */
  #openAnew(reason?: Error): void {
    this.#lastFailure.forget();
    this.#reopening.askAtOnce();
    this.hub.restart(reason).catch(() => {});
  }

  #listen(): void {
    this.hub.on('open', () => {
      // One that is wanted again while it closes was never idle.
      this.#closed();
      this.#openedAt = performance.now();
      this.#reopening.opened();
    });
    this.hub.on('live', () => this.#live());
    this.hub.on('idle', () => {
      this.#closed();
      this.#source.switches.forget();
    });
    this.hub.on('failure', (error) => this.#failed(error));
    this.hub.on('lag', (_, error) =>
      this.#log.warn({ lagBytes: error.lagBytes }, `channel ${this.#entry.id}: ${error.message}`),
    );
  }

  #live(): void {
    this.#liveSince = new Date();
    this.#lastFailure.forget();
    const { why, from, to } = this.#source.live() ?? {};
    const afterMs = Math.round(performance.now() - this.#openedAt);
    this.#log.info(`channel ${this.#entry.id}: live, first bytes after ${afterMs} ms`);
    if (why) this.#log.info({ why }, `channel ${this.#entry.id}: switched from ${from} to ${to} (${why})`);
  }

  #closed(): void {
    this.#source.unwatch();
    if (this.#liveSince) this.#log.info(`channel ${this.#entry.id}: closed`);
    this.#liveSince = undefined;
  }

  #failed(error: unknown): void {
    const failure = this.#lastFailure.note(error);
    if (UNNOTED.includes(blameOf(error))) this.#reopening.postpone(failure);
    const { holder, detail, title } = failure;
    const says =
      error instanceof SourceBusyError && this.hub.subscribers === 0 ? `skipped, ${detail}` : `${title}: ${detail}`;
    this.#log.warn({ status: failure.status, ...(holder && { holder }) }, `channel ${this.#entry.id}: ${says}`);
  }
}

function namedKeys({ sources }: DirectoryEntry): ReadonlySet<string> {
  return keysOf(sources.flatMap(({ url, device }) => namesOf(url, device)));
}
