import type { Readable } from 'node:stream';
import { type ChildExit, ChildExitError, type ProcessPool, SourceEndedError, SourceLock } from 'holdfast';
import type { DeviceClient } from '../../hdhomerun/index.ts';
import type { Source } from '../directory/directory.ts';
import { SourceUntriedError } from '../errors.ts';
import { noTunerErrorOr } from '../failure.ts';
import { isFaultOfSource } from '../failure-kinds.ts';
import type { Logger } from '../log.ts';
import { type OpenSource, openSource, type SourceEnd } from '../pipeline/open-source.ts';
import { isToldToEnd } from '../pipeline/told-to-end.ts';
import { identify, namesOf } from './source-identity.ts';
import { forgetHeld, keysOf, lockSource } from './source-locks.ts';
import { busyTunersOf } from './tuner-check.ts';

export interface ReaderSettings {
  readonly lockDir?: string | undefined;
  /** A live source that gives nothing for so long is over. */
  readonly stallTimeoutMs: number;
  /** The ffmpeg to run; throws an error that says how to get one. */
  readonly ffmpeg: () => string;
  readonly controls: { readonly pool: ProcessPool };
}

export interface ReadTerms {
  readonly signal: AbortSignal;
  readonly startTimeoutMs: number;
  /** Its device is asked for a free tuner before it is opened: it had none before. */
  readonly isAskedFirst: boolean;
  /** What else is locked while it is read. */
  readonly alsoHolds: readonly string[];
}

/** A source that is well is open within this, or within half of the time that it has. */
const LEAST_OPENING_MS = 2_000;

/** Opens the sources of one channel, each with the locks of all its names. */
export class SourceReader {
  readonly #channel: string;
  readonly #settings: ReaderSettings;
  readonly #log: Logger;
  /** Of a request for a source. */
  readonly #headers: () => Readonly<Record<string, string>>;
  #openedKeys: ReadonlySet<string> = new Set();
  /** Those that openings found out, by the addresses that were opened. */
  readonly #devices = new Map<string, DeviceClient>();

  constructor(channel: string, settings: ReaderSettings, log: Logger, headers: () => Readonly<Record<string, string>>) {
    this.#headers = headers;
    this.#channel = channel;
    this.#settings = settings;
    this.#log = log;
  }

  /** The locks of what was opened last, under names that only its opening found out. */
  get openedKeys(): ReadonlySet<string> {
    return this.#openedKeys;
  }

  /** It is somewhere else now. */
  forget(): void {
    this.#openedKeys = new Set();
    this.#devices.clear();
  }

  /** A source with its device, if that is known by now. */
  known(source: Source): Source {
    return { ...source, device: source.device ?? this.#devices.get(source.url) };
  }

  /** Of a request for a source. */
  get headers(): Readonly<Record<string, string>> {
    return this.#headers();
  }

  /** Whether somebody has its lock now, under a name that is known without asking anybody. */
  async isHeld({ url, device }: Source): Promise<boolean> {
    const { lockDir: dir } = this.#settings;
    const holders = await Promise.all(namesOf(url, device).map((name) => SourceLock.inspect(name, { dir })));
    return holders.some((holder) => holder !== undefined);
  }

  /** Rejects when nothing of it is left. */
  async open(source: Source, name: string, terms: ReadTerms): Promise<ReadSource> {
    const { signal, startTimeoutMs, isAskedFirst, alsoHolds } = terms;
    const deadline = performance.now() + startTimeoutMs;
    const { names: ownNames, device } = await identify(source.url, source.device, signal);
    if (device) this.#devices.set(source.url, device);
    if (isAskedFirst) {
      const busy = await busyTunersOf(this.known(source), this.#channel, signal);
      if (busy) throw busy;
    }
    this.#openedKeys = keysOf([...ownNames, ...alsoHolds]);
    const { holds, release } = await this.#lock(ownNames, alsoHolds, signal);
    const leftMs = deadline - performance.now();
    try {
      if (leftMs < Math.min(LEAST_OPENING_MS, startTimeoutMs / 2))
        throw new SourceUntriedError(source.url, startTimeoutMs);
      return new ReadSource(await this.#start(source, name, { signal, holds, startTimeoutMs: leftMs }), release);
    } catch (error) {
      // What can't be released is told when it is wanted again.
      await release().catch(() => {});
      throw signal.aborted ? error : await noTunerErrorOr(error, this.#channel, { device, signal });
    }
  }

  /** No child has the locks beside its own: one that can't be ended must not keep the next source from being read. */
  async #lock(ownNames: readonly string[], alsoHolds: readonly string[], signal: AbortSignal): Promise<Locked> {
    const terms = { dir: this.#settings.lockDir, log: this.#log, signal };
    const locks: SourceLock[] = [];
    const release = async () => {
      // At the same time, as that of what can't be ended stays pending.
      const results = await Promise.allSettled(locks.toReversed().map((lock) => lock[Symbol.asyncDispose]()));
      forgetHeld([...alsoHolds, ...ownNames], signal);
      const failed = results.find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected') throw failed.reason;
    };
    try {
      if (alsoHolds.length > 0) locks.push(await lockSource(alsoHolds, terms));
      const holds = await lockSource(ownNames, terms);
      locks.push(holds);
      return { holds, release };
    } catch (error) {
      await release().catch(() => {});
      throw error;
    }
  }

  #start(
    source: Source,
    name: string,
    terms: { readonly signal: AbortSignal; readonly holds: SourceLock; readonly startTimeoutMs: number },
  ): Promise<OpenSource> {
    const { controls, ffmpeg, stallTimeoutMs } = this.#settings;
    const { headers } = this;
    const process = { pool: controls.pool, key: this.#channel, ffmpeg };
    return openSource(source, name, { ...terms, ...process, stallTimeoutMs, headers });
  }
}

interface Locked {
  /** For what reads the source. */
  readonly holds: SourceLock;
  /** Of all locks. */
  readonly release: () => Promise<void>;
}

/** A source that is read, with its locks. Its disposal frees its tuner first, and then them. */
export class ReadSource implements AsyncDisposable {
  readonly stdout: Readable;
  readonly closed: Promise<SourceEnd | ChildExit>;
  readonly exited?: Promise<unknown>;
  readonly name?: string;
  readonly #source: OpenSource;
  readonly #release: () => Promise<void>;
  #lost: Error | undefined;
  #disposed: Promise<void> | undefined;

  constructor(source: OpenSource, release: () => Promise<void>) {
    const { name, exited } = source as { readonly name?: string; readonly exited?: Promise<unknown> };
    this.#source = source;
    this.#release = release;
    this.stdout = source.stdout;
    this.closed = source.closed.then((end) => this.#endOf(end));
    if (name !== undefined) this.name = name;
    if (exited) this.exited = exited;
  }

  /** The tuner in use, as its device calls it. */
  get resource(): string | undefined {
    return this.#source.resource;
  }

  /**
   * As the supervisor is to take it. A child that somebody outside told to end has not failed: a service manager that stops
   * this publisher does so as well. Nor has what lost its lock, or this host its network.
   */
  #endOf(end: SourceEnd | ChildExit): SourceEnd | ChildExit {
    if (this.#lost) return { reason: 'lost', error: this.#lost };
    if ('code' in end && isToldToEnd(end)) return { reason: 'terminated' };
    const error = errorOf(end);
    return error === undefined || isFaultOfSource(error) ? end : { reason: 'terminated', error };
  }

  /** What it gives is no use: it ends with this error. */
  lose(error: Error): void {
    if (this.#lost || this.#disposed) return;
    this.#lost = error;
    this.stdout.destroy(error);
    // Whoever reads it disposes of it as well, and is told what could not be ended.
    this[Symbol.asyncDispose]().catch(() => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    try {
      await this.#source[Symbol.asyncDispose]();
      await this.#source.closed;
    } finally {
      await this.#release();
    }
  }
}

/** Of an end that nobody here wanted. */
export function errorOf(end: SourceEnd | ChildExit): unknown {
  if ('error' in end && end.error !== undefined) return end.error;
  if (end.reason === 'terminated' || end.reason === 'aborted') return undefined;
  return 'code' in end ? new ChildExitError('ffmpeg', end) : new SourceEndedError(end.reason);
}
