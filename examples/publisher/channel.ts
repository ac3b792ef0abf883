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
import { type DirectoryEntry, isStale } from './directory.ts';
import { startEncoder } from './encoder.ts';
import { explained, type Failure, failureOf } from './failure.ts';
import type { Logger } from './log.ts';
import { identify, namesOf } from './source-identity.ts';

/** What all channels have in common. */
export interface ChannelSettings {
  readonly lockDir?: string | undefined;
  readonly closeAfterMs: number;
  readonly startTimeoutMs: number;
  /** The ffmpeg to run; throws an error that says how to get one. */
  readonly ffmpeg: () => string;
}

/** A live source that gives nothing for so long is over: its viewers would have left by then. */
const STALL_TIMEOUT_MS = 10_000;
const PACKET_BYTES = 188;

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
  #keys: ReadonlySet<string> = new Set();
  #openedAt = 0;
  #liveSince: Date | undefined;
  #lastError: (Failure & { readonly at: Date }) | undefined;

  constructor(entry: DirectoryEntry, settings: ChannelSettings, log: Logger) {
    this.#entry = entry;
    this.#settings = settings;
    this.#log = log.child({ channel: entry.id });
    this.hub = new FanoutHub({
      name: entry.id,
      align: PACKET_BYTES,
      startTimeoutMs: settings.startTimeoutMs,
      stallTimeoutMs: STALL_TIMEOUT_MS,
      closeAfterMs: settings.closeAfterMs,
      source: (context) => this.#open(context),
    });
    this.#listen();
  }

  get entry(): DirectoryEntry {
    return this.#entry;
  }

  set entry(entry: DirectoryEntry) {
    this.#entry = entry;
  }

  get liveSince(): Date | undefined {
    return this.#liveSince;
  }

  /** Why the last opening failed, until one succeeds. */
  get lastError(): (Failure & { readonly at: Date }) | undefined {
    return this.#lastError;
  }

  /** A tuner or holder that is busy now may be free for the next viewer; a source that can't be read is not offered. */
  get isAvailable(): boolean {
    const status = this.#lastError?.status;
    return !isStale(this.#entry) && status !== 502 && status !== 504;
  }

  /** Whether a lock is this channel's source, by what is known about it so far. */
  isSourceOf({ key }: LockHolder): boolean {
    return this.#keys.has(key) || namesOf(this.#entry.url, this.#entry.device).some((name) => sourceKey(name) === key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hub.close();
  }

  async #open({ signal, use }: FanoutSourceContext): Promise<ManagedChild> {
    const { url, device: known, name, id } = this.#entry;
    const { startTimeoutMs } = this.#settings;
    const ffmpeg = this.#settings.ffmpeg();
    const { names, device } = await identify(url, known, signal);
    this.#keys = new Set(names.map(sourceKey));
    const holds = use(await this.#lock(names, signal));
    try {
      return await startEncoder(ffmpeg, { url, name }, { signal, holds, startTimeoutMs });
    } catch (error) {
      throw await explained(error, id, device);
    }
  }

  /** Never waits: who comes second is told who is first. */
  #lock(names: readonly string[], signal: AbortSignal): Promise<SourceLock> {
    const { lockDir: dir } = this.#settings;
    return SourceLock.acquire(names, { signal, dir, onWarning: (warning) => reportWarning(this.#log, warning) });
  }

  #listen(): void {
    const { id } = this.#entry;
    this.hub.on('open', () => {
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
