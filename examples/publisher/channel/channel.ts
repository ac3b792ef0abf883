import type { ServerResponse } from 'node:http';
import {
  type ChildExit,
  ChildExitError,
  FanoutHub,
  type FanoutSourceContext,
  type LockHolder,
  type LockWarning,
  RestartRefusedError,
  redactCredentials,
  SourceBusyError,
  SourceEndedError,
  SourceLock,
  type Subscription,
  sourceKey,
} from 'holdfast';
import { mpegTsJoinPoint, PACKET_BYTES } from '../../mpeg-ts/index.ts';
import type { Controls } from '../controls.ts';
import { DIRECTORY_TTL_MS, type DirectoryEntry, isStale } from '../directory/directory.ts';
import { type Failure, failureOf, isFaultOfSource, noTunerErrorOr } from '../failure.ts';
import type { Logger } from '../log.ts';
import { type OpenSource, openSource, type SourceEnd } from '../pipeline/open-source.ts';
import { Reopening } from './reopening.ts';
import { identify, namesOf } from './source-identity.ts';

/** What all channels have in common. */
export interface ChannelSettings {
  readonly lockDir?: string | undefined;
  readonly closeAfterMs: number;
  readonly startTimeoutMs: number;
  /** A live source that gives nothing for so long is over. */
  readonly stallTimeoutMs: number;
  /** The ffmpeg to run; throws an error that says how to get one. */
  readonly ffmpeg: () => string;
  readonly controls: Controls;
}

/** What an opening has of the time to start: who waits is told what it failed with, and not only that it took too long. */
const OPENING_SHARE = 0.9;
/** A dead publisher's ffmpeg is ended by its guard well within this. */
const ORPHAN_TIMEOUT_MS = 500;

/**
 * One channel: a hub whose source is ffmpeg, which holds the lock of what it reads under every name of it. Nothing runs
 * while nobody watches.
 */
export class Channel implements AsyncDisposable {
  readonly hub: FanoutHub;
  readonly #settings: ChannelSettings;
  readonly #log: Logger;
  /** Where the source is now; a device that got another address goes on under the same id. */
  #entry: DirectoryEntry;
  /** What is known of the source's locks without asking anybody, and what its last opening found out. */
  readonly #reopening: Reopening;
  #namedKeys: ReadonlySet<string>;
  #openedKeys: ReadonlySet<string> = new Set();
  #openedAt = 0;
  /** Whether ffmpeg runs, or is about to. */
  #isOpen = false;
  #liveSince: Date | undefined;
  #lastError: (Failure & { readonly at: Date }) | undefined;

  constructor(entry: DirectoryEntry, settings: ChannelSettings, log: Logger) {
    this.#entry = entry;
    this.#namedKeys = namedKeys(entry);
    this.#settings = settings;
    this.#log = log.child({ channel: entry.id });
    this.#reopening = new Reopening(entry.id, settings.controls.supervisor, this.#log);
    this.hub = new FanoutHub({
      name: entry.id,
      align: PACKET_BYTES,
      joinPoint: mpegTsJoinPoint(),
      startTimeoutMs: settings.startTimeoutMs,
      closeAfterMs: settings.closeAfterMs,
      source: (context) => this.#open(context),
      reopen: () => this.#reopening.ask(),
    });
    this.#listen();
  }

  get entry(): DirectoryEntry {
    return this.#entry;
  }

  set entry(entry: DirectoryEntry) {
    if (entry.sources[0].url !== this.#entry.sources[0].url) this.#moved();
    this.#entry = entry;
    this.#namedKeys = namedKeys(entry);
  }

  /** What failed where it was before says nothing about where it is now. */
  #moved(): void {
    this.#openedKeys = new Set();
    if (this.#isOpen) return;
    this.#lastError = undefined;
    const forgotten = this.#settings.controls.supervisor.stop(this.#entry.id);
    forgotten.catch(() => {}).then(() => this.#openAnew());
  }

  /** For viewers who wait for where it was; an opening that fails tells of itself. */
  #openAnew(): void {
    if (this.#isOpen) return;
    this.#reopening.askAtOnce();
    if (this.hub.state === 'opening') this.hub.restart().catch(() => {});
  }

  get liveSince(): Date | undefined {
    return this.hub.state === 'live' ? this.#liveSince : undefined;
  }

  /** Why the last opening failed, until one succeeds. */
  get lastError(): (Failure & { readonly at: Date }) | undefined {
    return this.#lastError;
  }

  /**
   * A tuner or holder that is busy now may be free for the next viewer. A source that could not be read is not offered,
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
    const { id } = this.#entry;
    const verdict = this.#settings.controls.supervisor.canRestart(id);
    if (this.#isOpen || verdict.allowed) return undefined;
    return new RestartRefusedError(id, verdict.why, verdict.retryAfterMs);
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
    return this.hub.pipe(response);
  }

  /** Whether a lock is this channel's source, by what is known about it so far. */
  isSourceOf({ key }: LockHolder): boolean {
    return this.#namedKeys.has(key) || this.#openedKeys.has(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Together, so that a channel which gets the same id meanwhile is left alone.
    await Promise.all([this.#settings.controls.supervisor.stop(this.#entry.id), this.hub.close()]);
  }

  async #open({ signal, use }: FanoutSourceContext): Promise<OpenSource> {
    const { supervisor } = this.#settings.controls;
    this.#isOpen = true;
    try {
      const source = await supervisor.attempt(this.#entry.id, ({ signal }) => this.#start({ signal, use }), { signal });
      void source.closed.then((end) => this.#ended(end, signal));
      return source;
    } catch (error) {
      this.#isOpen = false;
      throw error;
    }
  }

  #ended(end: SourceEnd, { reason }: AbortSignal): void {
    this.#isOpen = false;
    this.#closed();
    // Of any other end the hub tells.
    if (this.hub.state === 'closed') return;
    if (isCleanExit(end)) this.#failed(new ChildExitError('ffmpeg', end));
    else if (reason instanceof SourceEndedError && reason.cause === undefined) this.#failed(reason);
  }

  async #start({ signal, use }: FanoutSourceContext): Promise<OpenSource> {
    const { sources, name, id } = this.#entry;
    const [source] = sources;
    const { controls, startTimeoutMs, stallTimeoutMs, ffmpeg } = this.#settings;
    const deadline = performance.now() + OPENING_SHARE * startTimeoutMs;
    const { names, device } = await identify(source.url, source.device, signal);
    this.#openedKeys = keysOf(names);
    const holds = use(await this.#lock(names, signal));
    const leftMs = Math.max(1, deadline - performance.now());
    const terms = { signal, holds, pool: controls.pool, key: id, startTimeoutMs: leftMs, stallTimeoutMs, ffmpeg };
    try {
      return await openSource(source, name, terms);
    } catch (error) {
      throw await noTunerErrorOr(error, id, device);
    }
  }

  /** Who comes second is told at once who is first; only what a dead publisher left behind is waited for, it ends. */
  async #lock(names: readonly string[], signal: AbortSignal): Promise<SourceLock> {
    const { lockDir: dir } = this.#settings;
    const options = { signal, dir, onWarning: (warning: LockWarning) => reportWarning(this.#log, warning) };
    try {
      return await SourceLock.acquire(names, options);
    } catch (error) {
      const isOrphan = error instanceof SourceBusyError && error.holder?.orphanOf !== undefined;
      if (!isOrphan) throw error;
      return await SourceLock.acquire(names, { ...options, timeoutMs: ORPHAN_TIMEOUT_MS });
    }
  }

  #listen(): void {
    const { id } = this.#entry;
    this.hub.on('open', () => {
      // One that is wanted again while it closes was never idle.
      this.#closed();
      this.#openedAt = performance.now();
      this.#reopening.opened();
      this.#log.info(`channel ${id}: opening ${redactCredentials(this.#entry.sources[0].url)}`);
    });
    this.hub.on('live', () => {
      this.#liveSince = new Date();
      this.#lastError = undefined;
      this.#log.info(`channel ${id}: live, first bytes after ${Math.round(performance.now() - this.#openedAt)} ms`);
    });
    this.hub.on('idle', () => this.#closed());
    this.hub.on('failure', (error) => this.#failed(error));
    this.hub.on('lag', (_, error) => this.#log.warn({ lagBytes: error.lagBytes }, `channel ${id}: ${error.message}`));
  }

  #closed(): void {
    if (this.#liveSince) this.#log.info(`channel ${this.#entry.id}: closed`);
    this.#liveSince = undefined;
  }

  #failed(error: unknown): void {
    const failure = failureOf(error);
    this.#lastError = { ...failure, at: new Date() };
    if (!isFaultOfSource(error)) this.#reopening.postpone(failure);
    const { holder, detail, title } = failure;
    const hasViewers = this.hub.subscribers > 0;
    const says = error instanceof SourceBusyError && !hasViewers ? `skipped, ${detail}` : `${title}: ${detail}`;
    this.#log.warn({ status: failure.status, ...(holder && { holder }) }, `channel ${this.#entry.id}: ${says}`);
  }
}

/** Of a file or stream that was over; nothing that is watched live should be. */
function isCleanExit(end: SourceEnd | ChildExit): end is ChildExit {
  return end.reason === 'exited' && 'code' in end && end.code === 0;
}

function namedKeys({ sources }: DirectoryEntry): ReadonlySet<string> {
  return keysOf(sources.flatMap(({ url, device }) => namesOf(url, device)));
}

/** Without those of a name that can't be looked at now (a link to itself, a closed directory); its opening says why. */
function keysOf(names: readonly string[]): ReadonlySet<string> {
  return new Set(
    names.flatMap((name) => {
      try {
        return [sourceKey(name)];
      } catch {
        return [];
      }
    }),
  );
}

/** That the locks are of one user only was said at the start; it is no news of this channel. */
function reportWarning(log: Logger, warning: LockWarning): void {
  if (warning.code !== 'DEAD_HOLDER') return;
  const { pid, startedAt, command } = warning.holder;
  const { key } = warning;
  log.warn(
    { holder: warning.holder },
    `took over ${key} from pid ${pid}, which died with it, since ${startedAt}: ${command}`,
  );
}
