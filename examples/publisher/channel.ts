import {
  FanoutHub,
  type FanoutSourceContext,
  type LockHolder,
  type LockWarning,
  type ManagedChild,
  redactCredentials,
  SourceBusyError,
  SourceLock,
  sourceKey,
} from 'holdfast';
import { DIRECTORY_TTL_MS, type DirectoryEntry, isStale } from './directory.ts';
import { startEncoder } from './encoder.ts';
import { type Failure, failureOf, noTunerErrorOr } from './failure.ts';
import type { Logger } from './log.ts';
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
}

const PACKET_BYTES = 188;
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
  #namedKeys: ReadonlySet<string>;
  #openedKeys: ReadonlySet<string> = new Set();
  #openedAt = 0;
  #liveSince: Date | undefined;
  #lastError: (Failure & { readonly at: Date }) | undefined;

  constructor(entry: DirectoryEntry, settings: ChannelSettings, log: Logger) {
    this.#entry = entry;
    this.#namedKeys = keysOf(namesOf(entry.url, entry.device));
    this.#settings = settings;
    this.#log = log.child({ channel: entry.id });
    this.hub = new FanoutHub({
      name: entry.id,
      align: PACKET_BYTES,
      startTimeoutMs: settings.startTimeoutMs,
      stallTimeoutMs: settings.stallTimeoutMs,
      closeAfterMs: settings.closeAfterMs,
      source: (context) => this.#open(context),
    });
    this.#listen();
  }

  get entry(): DirectoryEntry {
    return this.#entry;
  }

  set entry(entry: DirectoryEntry) {
    if (entry.url !== this.#entry.url) this.#openedKeys = new Set();
    this.#entry = entry;
    this.#namedKeys = keysOf(namesOf(entry.url, entry.device));
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
    return !isStale(this.#entry) && !this.#hasJustFailed;
  }

  get #hasJustFailed(): boolean {
    const { status, at = 0 } = this.#lastError ?? {};
    return (status === 502 || status === 504) && Date.now() - Number(at) < DIRECTORY_TTL_MS;
  }

  /** Whether a lock is this channel's source, by what is known about it so far. */
  isSourceOf({ key }: LockHolder): boolean {
    return this.#namedKeys.has(key) || this.#openedKeys.has(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hub.close();
  }

  async #open({ signal, use }: FanoutSourceContext): Promise<ManagedChild> {
    const { url, device: known, name, id } = this.#entry;
    const { startTimeoutMs } = this.#settings;
    const ffmpeg = this.#settings.ffmpeg();
    const { names, device } = await identify(url, known, signal);
    this.#openedKeys = keysOf(names);
    const holds = use(await this.#lock(names, signal));
    try {
      return await startEncoder(ffmpeg, { url, name }, { signal, holds, startTimeoutMs });
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
      this.#log.info(`channel ${id}: opening ${redactCredentials(this.#entry.url)}`);
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
    const { holder, detail, title } = failure;
    const says = error instanceof SourceBusyError ? `skipped, ${detail}` : `${title}: ${detail}`;
    this.#log.warn({ status: failure.status, ...(holder && { holder }) }, `channel ${this.#entry.id}: ${says}`);
  }
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
