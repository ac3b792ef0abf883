import { ClosedError, type LockHolder, LockInUseError, SourceBusyError } from '../errors.ts';
import { abortable, onAbort } from '../internal/abort.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import type { Hold, Holdable, HoldingChild, Lease } from '../internal/hold.ts';
import { checkKnown, checkNumber, checkSignal } from '../internal/options.ts';
import { after, now, sleep } from '../internal/time.ts';
import { type HeldLock, placesToLook, type Source, takeAll, type Wanted, wantedOf } from './acquisition.ts';
import { AT_ONCE, type TakenLock } from './backend.ts';
import { backendInUse, chooseBackend } from './choose-backend.ts';
import { lockDirectory, lockFilesIn } from './directory.ts';
import { checkLocation, type LockLocation, type LockWarning, type SourceLockOptions, settle, warn } from './options.ts';
import { readSidecar } from './sidecar.ts';

const publish = diagnosticsOf('source-lock');

/**
 * A refusal whose holder can't be named is a holder just going, or one that waits and is about to come, since it pauses for
 * 200 ms at most; how often and how quickly to try again. It may be stopped and never come: the last try leaves the lock to
 * nobody.
 */
const UNNAMED_RETRIES = 50;
const UNNAMED_RETRY_MS = 5;

/**
 * The exclusive right to read a source, among all processes of this host.
 *
 * The kernel holds it: it ends with the process that has it, also by `kill -9`, and is never taken from one that lives,
 * blocked, stopped or slow as it may be. Who is refused is told who holds it. A child started with `holds` has it too,
 * until its tree is gone, even when this process is killed.
 *
 * Most callers want {@link SourceLock.acquire} with `await using`. It does not wait for a holder unless `timeoutMs` says so;
 * a lock that is free and for which others wait it leaves to them first, for 250 ms.
 *
 * What it can not promise: exclusion between hosts, but for what a lease can do; exclusion of a program that does not ask.
 * There is no shared (reader) mode.
 *
 * @example
 * await using lock = await SourceLock.acquire('http://192.168.1.20:5004/auto/v5.1');
 * const child = await ManagedChild.spawn('ffmpeg', args, { holds: lock });
 */
export class SourceLock implements AsyncDisposable, Holdable {
  /** The identity of the source that was given first; see {@link sourceKey}. */
  readonly key: string;
  /** All identities that were given, sorted. */
  readonly keys: readonly string[];
  /** The lock file of {@link key}. */
  readonly path: string;
  /** Grows with every tenure of this lock: a later holder's is greater. Give it to what must refuse a late writer. */
  readonly fence: bigint;
  /** The holder that died with the lock and which this one follows. */
  declare readonly reclaimedFrom?: LockHolder;

  /** Aborts when the lock is lost: its file was removed or replaced (checked every 5 s), or its lease has expired. */
  readonly signal: AbortSignal;
  /** Set by a backend whose locks end unless they are renewed. */
  declare readonly lease?: Lease;

  readonly #locks: readonly TakenLock[];
  readonly #watch: Disposable;
  readonly #children = new Map<Hold, HoldingChild | undefined>();
  readonly #freed = Promise.withResolvers<void>();
  #phase: 'held' | 'releasing' | 'dropped' = 'held';
  /** Set by the disposal: a child that is just being started must not keep the lock. */
  #endsChildren = false;

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
    const settings = settle(options);
    const { timeoutMs, signal, command } = settings;
    signal?.throwIfAborted();
    const backend = await chooseBackend(settings);
    const wanted = wantedOf(source, backend, settings);
    const deadline = now() + timeoutMs;
    const patience = timeoutMs > 0 ? { deadline, signal } : undefined;
    for (let tries = 0; ; tries++) {
      const isLast = tries >= UNNAMED_RETRIES;
      const outcome = await takeAll(backend, wanted.places, command, patience ?? (isLast ? AT_ONCE : undefined));
      if (outcome.held) return new SourceLock(outcome.held, wanted, settings.onWarning);
      const { holder } = outcome.refused;
      const key = wanted.keys.includes(outcome.refused.key) ? outcome.refused.key : wanted.first;
      if (holder || isLast) {
        publish('refused', { key, holder });
        throw new SourceBusyError(key, holder);
      }
      await sleep(UNNAMED_RETRY_MS, signal);
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
  static async inspect(source: Source, options: LockLocation = {}): Promise<LockHolder | undefined> {
    const location = checkLocation('SourceLock.inspect', options);
    const [holder] = await (await backendInUse(location)).inspect(placesToLook(source, location));
    return holder;
  }

  /** All locks of a directory that are held now. */
  static async list(options: { readonly dir?: string | undefined } = {}): Promise<LockHolder[]> {
    const location = checkLocation('SourceLock.list', options, ['dir']);
    const backend = await backendInUse(location);
    const paths = lockFilesIn(lockDirectory(location.dir, 'look').path);
    return backend.inspect(paths.map((path) => ({ path, key: readSidecar(path)?.key ?? '' })));
  }

  private constructor(held: readonly HeldLock[], wanted: Wanted, onWarning: (warning: LockWarning) => void) {
    const named = held.find(({ lock }) => lock.key === wanted.first) as HeldLock;
    this.#locks = held.map(({ lock }) => lock);
    this.key = wanted.first;
    this.keys = wanted.keys;
    this.path = named.lock.path;
    this.fence = named.fence;
    const deaths = deathsIn(held, wanted);
    if (deaths[0]) this.reclaimedFrom = deaths[0].holder;
    const [lease, ...leases] = this.#locks.flatMap((lock) => lock.lease ?? []);
    if (lease) this.lease = leases.length === 0 ? lease : earliestOf([lease, ...leases]);
    this.signal = held.length === 1 ? named.lock.lost : AbortSignal.any(this.#locks.map(({ lost }) => lost));
    this.#watch = onAbort(this.signal, (error) => publish('lost', { lock: this, error }));
    publish('created', { lock: this });
    for (const { key, holder } of deaths) {
      publish('reclaimed', { lock: this, key, holder });
      warn(onWarning, { code: 'DEAD_HOLDER', key, holder });
    }
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
    if (this.#phase === 'held') this.#phase = 'releasing';
    const endings = [...this.#children.values()].map((child) => child?.terminate('its lock is disposed'));
    const failed = (await Promise.allSettled(endings)).find(({ status }) => status === 'rejected');
    // The release stays pending, and happens when they end all the same.
    if (failed?.status === 'rejected') throw failed.reason;
    await this.release();
  }

  /** A reference for a child that is about to be started; `ManagedChild` calls this for its option `holds`. */
  hold(): Hold {
    if (this.#phase !== 'held' || this.#endsChildren) throw new ClosedError(`the lock of ${this.key}`);
    const reference: Hold = {
      descriptors: this.#locks.flatMap((lock) => lock.share()),
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
    const running = [...this.#children.values()]
      .filter((child) => child !== undefined)
      .map(({ pid, startTicks }) => ({ pid, startTicks }));
    for (const lock of this.#locks) this.#attempt(() => lock.recordChildren(running));
  }

  /** The owner and every child have let go. */
  #dropIfUnused(): void {
    if (this.#phase !== 'releasing' || this.#children.size > 0) return;
    this.#phase = 'dropped';
    this.#watch[Symbol.dispose]();
    void this.#free();
    publish('released', { lock: this });
  }

  async #free(): Promise<void> {
    await Promise.all(this.#locks.map((lock) => this.#release(lock)));
    this.#freed.resolve();
  }

  async #release(lock: TakenLock): Promise<void> {
    try {
      await lock.release();
    } catch (error) {
      publish('failure', { lock: this, error });
    }
  }

  /** The kernel's lock is what counts: that it could not be explained is told, and changes nothing. */
  #attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      publish('failure', { lock: this, error });
    }
  }

  #holdingPids(): number[] {
    const known = [...this.#children.values()].flatMap((child) => child?.pid ?? []);
    return known.length > 0 ? known : [...new Set(this.#locks.flatMap((lock) => lock.sharers?.() ?? []))];
  }
}

/** What needs them all ends with the first of them. */
function earliestOf(leases: readonly Lease[]): Lease {
  return {
    get deadline() {
      return Math.min(...leases.map(({ deadline }) => deadline));
    },
    signal: AbortSignal.any(leases.map(({ signal }) => signal)),
    onRenew(listener) {
      const listening = leases.map((lease) => lease.onRenew(() => listener(this.deadline)));
      return {
        [Symbol.dispose]() {
          for (const each of listening) each[Symbol.dispose]();
        },
      };
    },
  };
}

interface Death {
  readonly key: string;
  readonly holder: LockHolder;
}

/** Each death once, though the dead may have held the source by several identities. */
function deathsIn(held: readonly HeldLock[], { first, keys }: Wanted): Death[] {
  const deaths = new Map<string | number, Death>();
  for (const { lock, reclaimedFrom: holder, deadProcess = holder?.pid } of held) {
    if (!holder || deadProcess === undefined) continue;
    if (keys.includes(lock.key)) deaths.set(deadProcess, { key: lock.key, holder });
    else if (!deaths.has(deadProcess)) deaths.set(deadProcess, { key: first, holder });
  }
  return [...deaths.values()];
}
