import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { LockDirectoryError, LockLostError } from '../errors.ts';
import type { ProcessIdentity } from '../internal/proc.ts';
import { idle, now, sleep, wallClock } from '../internal/time.ts';
import { AT_ONCE, type LockPlace, type Patience, type TakenLock, type Tenure } from './backend.ts';
import { shareWithGroup } from './directory.ts';
import { directoryError } from './directory-error.ts';
import { fenceAfter } from './fence.ts';
import { deathOf, displacedHolder } from './holder.ts';
import { inheritorsOf } from './keepers.ts';
import type { KernelLock } from './kernel-lock.ts';
import { watchPlace } from './place-watch.ts';
import { newSidecar, readSidecar, removeSidecar, type Sidecar, writeSidecar } from './sidecar.ts';

/** Pause between looks at a holder whose lock file was moved away: the kernel can't be waited for there. */
const DISPLACED_RETRY_MS = 100;

/** One lock file that this process has locked. */
export class LockFile implements TakenLock {
  readonly key: string;
  readonly path: string;
  readonly descriptor: number;
  readonly #kernel: KernelLock;
  /** Inodes may have 64 bits. */
  readonly #place: BigIntStats;
  readonly #lost = new AbortController();
  #watch: Disposable | undefined;
  /** The sidecar that was there when the lock was taken: whoever wrote it is dead, unless it had let go. */
  #left: Sidecar | undefined;
  #meta: Sidecar | undefined;
  /** Whether a child may have inherited the descriptor: then it is closed and never unlocked. */
  #isShared = false;

  /** Takes the lock, or answers undefined if another holds it. */
  static async take(kernel: KernelLock, place: LockPlace, patience?: Patience): Promise<LockFile | undefined> {
    for (;;) {
      const outcome = await LockFile.#tryOnce(kernel, place, patience);
      if (outcome instanceof LockFile) return outcome;
      const leftMs = patience ? patience.deadline - now() : 0;
      if (outcome === 'refused' || (outcome === 'displaced' && leftMs <= 0)) return undefined;
      if (outcome === 'displaced') await sleep(Math.min(DISPLACED_RETRY_MS, leftMs), patience?.signal);
    }
  }

  static async #tryOnce(
    kernel: KernelLock,
    place: LockPlace,
    patience: Patience | undefined,
  ): Promise<LockFile | 'refused' | 'replaced' | 'displaced'> {
    const file = new LockFile(kernel, place, open(place.path));
    let isKept = false;
    try {
      file.#checkIsFile();
      if (!(await kernel.lock(file.descriptor, patience))) return 'refused';
      if (!file.#isInPlace()) return 'replaced';
      if (file.#isHeldByDisplaced()) return 'displaced';
      isKept = true;
      return file;
    } finally {
      if (!isKept) closeSync(file.descriptor);
    }
  }

  private constructor(kernel: KernelLock, { key, path }: LockPlace, descriptor: number) {
    this.#kernel = kernel;
    this.key = key;
    this.path = path;
    this.descriptor = descriptor;
    this.#place = fstatSync(descriptor, { bigint: true });
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** @param outer the lock that this one is within, if it is: it keeps the fence and has to stay in place as well */
  async begin(command: string, outer?: OpenLock): Promise<Tenure> {
    shareWithGroup(this.descriptor, this.path, this.#place);
    const death = deathOf(this, this.#left);
    const fence = nextFence(outer ?? this);
    const { key, descriptor } = this;
    const lockInode = String(this.#place.ino);
    const meta = newSidecar({ key, fence: String(fence), cmd: command, descriptor, lockInode });
    writeSidecar(this.path, meta);
    this.#meta = meta;
    this.#watch = watchPlace(() => this.#checkPlace(outer));
    return { fence, ...death };
  }

  share(): readonly number[] {
    this.#isShared = true;
    return [this.descriptor];
  }

  sharers(): readonly number[] {
    return inheritorsOf(this.path, process.pid);
  }

  recordChildren(children: readonly ProcessIdentity[]): void {
    this.#amend({ children });
  }

  async release(): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    if (this.#isShared) return this.#letGo();
    try {
      // In its place the sidecar can be nobody else's; the look is cheaper than reading it.
      if (this.#meta && (this.#isInPlace() || this.#isOurs())) removeSidecar(this.path);
    } finally {
      await this.#unlocked(this.descriptor);
    }
  }

  /** The unlock is explicit: a close alone takes effect only after a fork in another thread. */
  async #unlocked(descriptor: number): Promise<void> {
    try {
      await this.#kernel.unlock(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }

  /**
   * Children had inherited the lock: an unlock would take it from one that still lives unseen, so the descriptor is only
   * closed, and the kernel frees the lock with the last that has it.
   */
  async #letGo(): Promise<void> {
    try {
      this.#amend({ released: wallClock().toISOString() });
    } finally {
      closeSync(this.descriptor);
      // What hinders the look (no descriptor left) may pass.
      const isFree = () => this.#isFree().catch(() => false);
      for (let waitMs = 1; !(await isFree()); waitMs = Math.min(waitMs * 2, 200)) await idle(waitMs);
    }
  }

  /** After {@link #letGo}: whether nothing of this tenure has the lock any more. If so its sidecar is gone too. */
  async #isFree(): Promise<boolean> {
    if (!this.#isOurs() || !this.#isInPlace()) return true;
    const descriptor = open(this.path);
    let isLocked = false;
    try {
      isLocked = await this.#kernel.lock(descriptor, AT_ONCE);
      if (isLocked && this.#isOurs()) removeSidecar(this.path);
    } finally {
      if (isLocked) await this.#unlocked(descriptor);
      else closeSync(descriptor);
    }
    return isLocked;
  }

  #checkIsFile(): void {
    if (this.#place.isFile()) return;
    throw new LockDirectoryError(this.path, `${this.path} can't be a lock: it is no file; remove what is there`);
  }

  #isInPlace(): boolean {
    return isAt(this, this.#place);
  }

  /** The holder of a file that was moved away from this path lives: the source is its own all the same. */
  #isHeldByDisplaced(): boolean {
    this.#left = readSidecar(this.path);
    return displacedHolder(this, String(this.#place.ino), this.#left) !== undefined;
  }

  #checkPlace(outer: OpenLock | undefined): void {
    if (this.#lost.signal.aborted || (this.#isInPlace() && (!outer || isAt(outer)))) return;
    this.#lost.abort(
      new LockLostError(
        this.key,
        this.path,
        'its file was removed or replaced, which must not be done while it is in use',
      ),
    );
  }

  /** A sidecar of another tenure is not ours to write. */
  #isOurs(): boolean {
    return this.#meta !== undefined && readSidecar(this.path)?.token === this.#meta.token;
  }

  #amend(change: Partial<Sidecar>): void {
    if (!this.#meta || !this.#isOurs()) return;
    this.#meta = { ...this.#meta, ...change };
    writeSidecar(this.path, this.#meta);
  }
}

/** A lock file that is open. */
interface OpenLock {
  readonly path: string;
  readonly descriptor: number;
}

/** Whether the file at the path is still the one that is open; true while that can't be told. */
export function isAt({ path, descriptor }: OpenLock, opened?: BigIntStats): boolean {
  try {
    const { ino, dev } = opened ?? fstatSync(descriptor, { bigint: true });
    const there = statSync(path, { bigint: true, throwIfNoEntry: false });
    return there?.ino === ino && there.dev === dev;
  } catch {
    return true;
  }
}

function open(path: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    return openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o660);
  } catch (error) {
    throw directoryError(dirname(path), error);
  }
}

const fenceText = Buffer.alloc(64);

/** Grows also after a crash: the last one is kept in the file. */
function nextFence({ descriptor, path }: OpenLock): bigint {
  const length = readSync(descriptor, fenceText, 0, fenceText.length, 0);
  const last = /^(\d*)[\s\0]*$/.exec(fenceText.toString('latin1', 0, length))?.[1];
  if (last === undefined) {
    const advice = 'it is something else than a lock file; choose another path, or empty it';
    throw new LockDirectoryError(path, `${path} can't be a lock: ${advice}`);
  }
  const fence = fenceAfter(BigInt(last));
  writeSync(descriptor, `${fence}\n`, 0);
  return fence;
}
