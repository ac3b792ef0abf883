import { join } from 'node:path';
import { ClosedError, type LockHolder, LockInUseError, LockLostError, SourceBusyError } from '../errors.ts';
import { abortable } from '../internal/abort.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import type { Hold, Holdable, HoldingChild } from '../internal/hold.ts';
import { checkKnown, checkNumber, checkSignal } from '../internal/options.ts';
import { after, idle, now, sleep } from '../internal/time.ts';
import { placesOf, type Source, takeAll, type Wanted } from './acquisition.ts';
import { lockDirectory, lockFilesIn } from './directory.ts';
import { inheritorsOf } from './holder.ts';
import { kernelLock, lockTable } from './kernel-lock.ts';
import { lockFileName, sourceIdentities } from './key.ts';
import { inspectFile, type LockFile } from './lock-file.ts';
import { checkOptions, type LockWarning, type SourceLockOptions, warn } from './options.ts';
import { watchPlace } from './place-watch.ts';

const publish = diagnosticsOf('source-lock');

/** Pause between tries of one that waits. */
const RETRY_MS = 25;
/** A refusal whose holder can't be named is a holder just going; how often and how quickly to look again. */
const UNNAMED_RETRIES = 10;
const UNNAMED_RETRY_MS = 5;

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
  #phase: 'held' | 'releasing' | 'dropped' = 'held';
  /** Set by the disposal: a child that is just being started must not keep the lock. */
  #endsChildren = false;
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
    const wanted = placesOf(source, options.dir, warning);
    const deadline = now() + timeoutMs;
    for (let tries = 0; ; tries++) {
      signal?.throwIfAborted();
      const taken = takeAll(kernel, wanted.places, options.command);
      if (taken.files) return new SourceLock(taken.files, wanted, warning);
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
    const directory = lockDirectory(options.dir, 'look').path;
    const holders = sourceIdentities(source).map((key) =>
      inspectFile({ key, path: join(directory, lockFileName(key)) }),
    );
    return holders.find((holder) => holder !== undefined);
  }

  /** All locks of a directory that are held now. */
  static async list(options: { readonly dir?: string | undefined } = {}): Promise<LockHolder[]> {
    const { path } = lockDirectory(options.dir, 'look');
    const table = lockTable();
    const holders = lockFilesIn(path).map((name) => inspectFile({ path: join(path, name) }, table));
    return holders.filter((holder) => holder !== undefined);
  }

  private constructor(files: readonly LockFile[], wanted: Wanted, warning: (warning: LockWarning) => void) {
    const named = files.find(({ key }) => key === wanted.first) as LockFile;
    this.#files = files;
    this.key = named.key;
    this.keys = wanted.keys;
    this.path = named.path;
    this.fence = named.fence;
    if (named.reclaimedFrom) this.reclaimedFrom = named.reclaimedFrom;
    this.#watch = watchPlace(() => this.#checkPlace());
    publish('created', { lock: this });
    for (const { key, reclaimedFrom } of files) {
      if (!reclaimedFrom || !this.keys.includes(key)) continue;
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
    checkKnown('release', options, ['signal', 'timeoutMs']);
    const timeoutMs = checkNumber('timeoutMs', options.timeoutMs ?? 10_000);
    const signal = checkSignal(options.signal);
    if (this.#phase === 'held') this.#phase = 'releasing';
    this.#dropIfUnused();
    const { promise: late, reject } = Promise.withResolvers<never>();
    const deadline = after(timeoutMs, () => reject(new LockInUseError(this.key, this.#holdingPids(), timeoutMs)));
    try {
      await abortable(Promise.race([this.#freed.promise, late]), signal);
    } finally {
      deadline[Symbol.dispose]();
    }
  }

  /** Terminates the children that hold the lock, one that is just being started too, then releases it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#endsChildren = true;
    await Promise.all([...this.#children.values()].map((child) => child?.terminate('its lock is disposed')));
    await this.release();
  }

  /** A reference for a child that is about to be started; `ManagedChild` calls this for its option `holds`. */
  hold(): Hold {
    if (this.#phase !== 'held' || this.#endsChildren) throw new ClosedError(`the lock of ${this.key}`);
    this.#wasShared = true;
    const reference: Hold = {
      descriptors: this.#files.map(({ descriptor }) => descriptor),
      started: (child) => this.#childStarted(reference, child),
      end: () => this.#childEnded(reference),
    };
    this.#children.set(reference, undefined);
    return reference;
  }

  #childStarted(reference: Hold, child: HoldingChild): void {
    this.#children.set(reference, child);
    this.#recordChildren();
    // What goes wrong there is told by the child and by release().
    if (this.#endsChildren) child.terminate('its lock is disposed').catch(() => {});
  }

  #childEnded(reference: Hold): void {
    if (!this.#children.delete(reference)) return;
    this.#recordChildren();
    this.#dropIfUnused();
  }

  #recordChildren(): void {
    const running = [...this.#children.values()].filter((child) => child !== undefined);
    for (const file of this.#files) this.#attempt(() => file.recordChildren(running));
  }

  /** The owner and every child have let go. */
  #dropIfUnused(): void {
    if (this.#phase !== 'releasing' || this.#children.size > 0) return;
    this.#phase = 'dropped';
    this.#watch[Symbol.dispose]();
    for (const file of this.#files.toReversed()) this.#attempt(() => (this.#wasShared ? file.letGo() : file.free()));
    publish('released', { lock: this });
    if (this.#wasShared) void this.#untilFree();
    else this.#freed.resolve();
  }

  /** A process that left its tree unseen may still have the descriptor. */
  async #untilFree(): Promise<void> {
    const isFree = () => this.#files.every((file) => this.#attempt(() => file.tryTidy()) ?? false);
    for (let waitMs = 1; !isFree(); waitMs = Math.min(waitMs * 2, 200)) await idle(waitMs);
    this.#freed.resolve();
  }

  /** The kernel's lock is what counts: that it could not be explained is told, and changes nothing. */
  #attempt<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      publish('failure', { lock: this, error });
      return undefined;
    }
  }

  #holdingPids(): number[] {
    const known = [...this.#children.values()].flatMap((child) => child?.pid ?? []);
    return known.length > 0 ? known : inheritorsOf(this.path, process.pid);
  }

  #checkPlace(): void {
    const moved = this.#files.find((file) => !file.isInPlace());
    if (!moved || this.#lost.signal.aborted) return;
    const error = new LockLostError(moved.key, moved.path, 'its file was removed or replaced');
    publish('lost', { lock: this, error });
    this.#lost.abort(error);
  }
}
