import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type LockHolder, LockInUseError, LockLostError, SourceBusyError } from '../errors.ts';
import { abortable } from '../internal/abort.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import type { Hold, Holdable, HoldingChild } from '../internal/hold.ts';
import { after, now, sleep } from '../internal/time.ts';
import { directoryError, lockDirectory, prepareDirectory } from './directory.ts';
import { processesWithOpen } from './holder.ts';
import { type KernelLock, kernelLock, lockTable } from './kernel-lock.ts';
import { lockFileName, sourceKey } from './key.ts';
import { inspectFile, LockFile } from './lock-file.ts';
import { checkOptions, type LockWarning, type SourceLockOptions, warn } from './options.ts';
import { watchPlace } from './place-watch.ts';

const publish = diagnosticsOf('source-lock');

/** Pause between tries of one that waits. */
const RETRY_MS = 25;
/** A refusal whose holder can't be named is a holder just going; how often and how quickly to look again. */
const UNNAMED_RETRIES = 10;
const UNNAMED_RETRY_MS = 5;

/** A source to be locked, by one of its identities. */
export type Source = string | URL | readonly (string | URL)[];

/**
 * The exclusive right to read a source, among all processes of this host.
 *
 * The kernel holds it: it ends with the process that has it, also by `kill -9`, and is never taken from one that lives,
 * blocked, stopped or slow as it may be. Who is refused is told who holds it. A child started with `holds` has it too,
 * until its tree is gone, even when this process is killed.
 *
 * Most callers want {@link SourceLock.acquire} with `await using`. It does not wait unless `timeoutMs` says so.
 *
 * What it can not promise: exclusion between hosts, or on a network file system; exclusion of a program that does not ask.
 * There is no shared (reader) mode.
 *
 * @example
 * await using lock = await SourceLock.acquire('http://192.168.1.20:5004/auto/v5.1');
 * const child = await ManagedChild.spawn('ffmpeg', args, { holds: lock });
 */
export class SourceLock implements AsyncDisposable, Holdable {
  /** The identity of the source that was given first; see {@link sourceKey}. */
  readonly key: string;
  /** All identities, in the order in which they are taken. */
  readonly keys: readonly string[];
  /** The lock file of {@link key}. */
  readonly path: string;
  /** Grows with every tenure of this lock: a later holder's is greater. Give it to what must refuse a late writer. */
  readonly fence: bigint;
  /** The holder that died with the lock and which this one follows. */
  declare readonly reclaimedFrom?: LockHolder;

  readonly #files: readonly LockFile[];
  readonly #lost = new AbortController();
  readonly #watch: Disposable;
  readonly #children = new Map<Hold, HoldingChild | undefined>();
  readonly #freed = Promise.withResolvers<void>();
  #isReleased = false;
  /** Whether a child ever inherited the descriptors; then they are closed, never unlocked. */
  #wasShared = false;

  /**
   * Takes the lock of a source, or of several identities of one source: all or none, taken in sorted order.
   *
   * Cancel-safe: if it rejects, nothing is held.
   *
   * @throws SourceBusyError if another holds it, after `timeoutMs`; with the holder.
   * @throws LockDirectoryError if the lock directory can't be used.
   * @throws LockUnsupportedError if this system has no kernel locks.
   * @throws `signal.reason` if aborted before.
   */
  static async acquire(source: Source, options: SourceLockOptions = {}): Promise<SourceLock> {
    const { timeoutMs, signal, warning } = checkOptions(options);
    signal?.throwIfAborted();
    const kernel = await kernelLock();
    const wanted = await placesOf(source, options.dir, warning);
    const deadline = now() + timeoutMs;
    for (let tries = 0; ; tries++) {
      signal?.throwIfAborted();
      const taken = takeAll(kernel, wanted, options.command);
      if (taken.files) return new SourceLock(taken.files, wanted.first, warning);
      const { key, holder } = taken.refused;
      const isGoing = holder === undefined && tries < UNNAMED_RETRIES;
      if (!isGoing && now() >= deadline) {
        publish('refused', { key, holder });
        throw new SourceBusyError(key, holder);
      }
      await sleep(isGoing ? UNNAMED_RETRY_MS : Math.min(RETRY_MS, Math.max(deadline - now(), 1)), signal);
    }
  }

  /** Like {@link acquire}; that another holds the source is an answer instead of an error. */
  static async tryAcquire(
    source: Source,
    options: SourceLockOptions = {},
  ): Promise<{ acquired: true; lock: SourceLock } | { acquired: false; holder?: LockHolder }> {
    try {
      return { acquired: true, lock: await SourceLock.acquire(source, options) };
    } catch (error) {
      if (!(error instanceof SourceBusyError)) throw error;
      return error.holder ? { acquired: false, holder: error.holder } : { acquired: false };
    }
  }

  /** Who holds a source now; undefined if nobody does. Disturbs neither the holder nor one that acquires. */
  static async inspect(
    source: string | URL,
    options: { readonly dir?: string | undefined } = {},
  ): Promise<LockHolder | undefined> {
    const key = sourceKey(source);
    return inspectFile(join(lockDirectory(options.dir).path, lockFileName(key)), key);
  }

  /** All locks of a directory that are held now. */
  static async list(options: { readonly dir?: string | undefined } = {}): Promise<LockHolder[]> {
    const { path } = lockDirectory(options.dir);
    const table = lockTable();
    const holders = lockFilesIn(path).map((name) => inspectFile(join(path, name), '', table));
    return holders.filter((holder) => holder !== undefined);
  }

  private constructor(files: readonly LockFile[], first: string, warning: (warning: LockWarning) => void) {
    const named = files.find(({ path }) => path === first) as LockFile;
    this.#files = files;
    this.key = named.key;
    this.keys = files.map(({ key }) => key);
    this.path = named.path;
    this.fence = named.fence;
    if (named.reclaimedFrom) this.reclaimedFrom = named.reclaimedFrom;
    this.#watch = watchPlace(() => this.#checkPlace());
    publish('created', { lock: this });
    for (const { key, reclaimedFrom } of files) {
      if (!reclaimedFrom) continue;
      publish('reclaimed', { lock: this, key, holder: reclaimedFrom });
      warn(warning, { code: 'DEAD_HOLDER', key, holder: reclaimedFrom });
    }
  }

  /** Aborts when the lock is lost, because its file was removed or replaced; checked every 5 s. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /**
   * Lets go. Kills nothing: the lock stays held until each child that has it is gone, and this resolves when it is free.
   * Idempotent; all calls wait for the same.
   *
   * @param options `timeoutMs`: how long to wait for children, 10 s by default.
   * @throws LockInUseError past it; the release stays pending and happens when they end.
   * @throws `signal.reason` if aborted; likewise.
   */
  async release(
    options: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number | undefined } = {},
  ): Promise<void> {
    const { timeoutMs = 10_000, signal } = options;
    this.#isReleased = true;
    if (this.#children.size === 0) this.#drop();
    const { promise: late, reject } = Promise.withResolvers<never>();
    const deadline = after(timeoutMs, () => reject(new LockInUseError(this.key, this.#holdingPids(), timeoutMs)));
    try {
      await abortable(Promise.race([this.#freed.promise, late]), signal);
    } finally {
      deadline[Symbol.dispose]();
    }
  }

  /** Terminates the children that hold the lock, then releases it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#children.values()].map((child) => child?.terminate('its lock is disposed')));
    await this.release();
  }

  /** A reference for a child that is about to be started; `ManagedChild` calls this for its option `holds`. */
  hold(): Hold {
    if (this.#isReleased) throw new LockLostError(this.key, this.path, 'it is released');
    this.#wasShared = true;
    const reference: Hold = {
      descriptors: this.#files.map(({ descriptor }) => descriptor),
      started: (child) => {
        this.#children.set(reference, child);
        this.#recordChildren();
      },
      end: () => this.#endHold(reference),
    };
    this.#children.set(reference, undefined);
    return reference;
  }

  #endHold(reference: Hold): void {
    if (!this.#children.delete(reference)) return;
    if (this.#isReleased && this.#children.size === 0) this.#drop();
    else this.#recordChildren();
  }

  #recordChildren(): void {
    const running = [...this.#children.values()].filter((child) => child !== undefined);
    for (const file of this.#files) file.recordChildren(running);
  }

  /** Runs once, when the owner and every child have let go. */
  #drop(): void {
    if (this.#isDropped) return;
    this.#isDropped = true;
    this.#watch[Symbol.dispose]();
    for (const file of this.#files.toReversed()) {
      if (this.#wasShared) file.letGo();
      else file.free();
    }
    publish('released', { lock: this });
    if (this.#wasShared) void this.#untilFree();
    else this.#freed.resolve();
  }
  #isDropped = false;

  /** A process that left its tree unseen may still have the descriptor. */
  async #untilFree(): Promise<void> {
    for (let waitMs = 1; !this.#files.every((file) => file.isFree()); waitMs = Math.min(waitMs * 2, 200)) {
      await sleep(waitMs);
    }
    this.#freed.resolve();
  }

  #holdingPids(): number[] {
    const known = [...this.#children.values()].flatMap((child) => child?.pid ?? []);
    return known.length > 0 ? known : processesWithOpen(this.path);
  }

  #checkPlace(): void {
    const moved = this.#files.find((file) => !file.isInPlace());
    if (!moved || this.#lost.signal.aborted) return;
    const error = new LockLostError(moved.key, moved.path, 'its file was removed or replaced');
    publish('lost', { lock: this, error });
    this.#lost.abort(error);
  }
}

interface Places {
  /** The path of the source that was given first. */
  readonly first: string;
  /** In sorted order: who takes several takes them in the same order as everybody else. */
  readonly sorted: readonly { readonly key: string; readonly path: string }[];
}

async function placesOf(
  source: Source,
  dir: string | undefined,
  warning: (warning: LockWarning) => void,
): Promise<Places> {
  const sources = [source].flat() as readonly (string | URL)[];
  if (sources.length === 0) throw new TypeError('a list of sources must not be empty');
  const directory = lockDirectory(dir);
  const places = new Map<string, string>();
  for (const each of sources) {
    const key = sourceKey(each);
    places.set(key, join(directory.path, lockFileName(key)));
  }
  prepareDirectory(directory.path);
  if (directory.perUser) warn(warning, { code: 'PER_USER_DIRECTORY', path: directory.path });
  const [first] = places.values();
  const sorted = [...places].map(([key, path]) => ({ key, path })).sort((a, b) => (a.key < b.key ? -1 : 1));
  return { first: first as string, sorted };
}

type Taken =
  | { readonly files: readonly LockFile[] }
  | { readonly files?: undefined; readonly refused: { key: string; holder: LockHolder | undefined } };

function takeAll(kernel: KernelLock, { sorted }: Places, command: string | undefined): Taken {
  const files: LockFile[] = [];
  try {
    for (const { key, path } of sorted) {
      const file = LockFile.take(kernel, path, key, command);
      if (!file) {
        freeAll(files);
        return { refused: { key, holder: inspectFile(path, key) } };
      }
      files.push(file);
    }
  } catch (error) {
    freeAll(files);
    throw error;
  }
  return { files };
}

function freeAll(files: LockFile[]): void {
  for (const file of files.toReversed()) file.free();
}

function lockFilesIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => name.endsWith('.lock'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw directoryError(directory, error);
  }
}
