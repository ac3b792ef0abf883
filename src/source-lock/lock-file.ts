import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  openSync,
  readSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { LockHolder } from '../errors.ts';
import { type ProcessIdentity, self } from '../internal/proc.ts';
import { wallClock } from '../internal/time.ts';
import { directoryError } from './directory.ts';
import { type LockedFile, nameHolder, toHolder } from './holder.ts';
import { type KernelLock, kernelDevice, lockTable } from './kernel-lock.ts';
import { newSidecar, readSidecar, removeSidecar, type Sidecar, writeSidecar } from './sidecar.ts';

/**
 * One lock file that this process holds. All calls are synchronous: each is a handful of system calls on a local file
 * system, and nothing of this process can come between them.
 */
export class LockFile implements LockedFile {
  readonly path: string;
  readonly key: string;
  readonly device: string;
  readonly inode: number;
  readonly descriptor: number;
  readonly fence: bigint;
  /** The dead holder this tenure follows. */
  readonly reclaimedFrom: LockHolder | undefined;
  readonly #kernel: KernelLock;
  #meta: Sidecar;

  /** Takes the lock, or answers undefined if another holds it. */
  static take(kernel: KernelLock, path: string, key: string, command: string | undefined): LockFile | undefined {
    for (;;) {
      const descriptor = open(path);
      try {
        if (!kernel.tryLock(descriptor, self())) {
          closeSync(descriptor);
          return undefined;
        }
        if (isFileAt(path, fstatSync(descriptor))) return new LockFile(kernel, descriptor, path, key, command);
      } catch (error) {
        closeSync(descriptor);
        throw error;
      }
      closeSync(descriptor); // replaced between open and lock
    }
  }

  private constructor(kernel: KernelLock, descriptor: number, path: string, key: string, command: string | undefined) {
    this.#kernel = kernel;
    this.descriptor = descriptor;
    this.path = path;
    this.key = key;
    const stats = fstatSync(descriptor);
    this.inode = stats.ino;
    this.device = kernelDevice(descriptor);
    shareWithGroup(descriptor, stats);
    const left = readSidecar(path);
    // The lock is ours, so whoever wrote the sidecar that is still there is dead, unless it had let go.
    this.reclaimedFrom = left && !left.released ? toHolder(this, left, 'meta') : undefined;
    this.fence = nextFence(descriptor);
    this.#meta = newSidecar(key, this.fence, command);
    writeSidecar(path, this.#meta);
  }

  /** Records the children that hold the lock too, so that a refusal can name them after this process is dead. */
  recordChildren(children: readonly ProcessIdentity[]): void {
    this.#meta = { ...this.#meta, children: children.map(({ pid, startTicks }) => ({ pid, startTicks })) };
    writeSidecar(this.path, this.#meta);
  }

  /** Whether the file at the path is still the one that is locked; true while that can't be told. */
  isInPlace(): boolean {
    try {
      return isFileAt(this.path, fstatSync(this.descriptor));
    } catch {
      return true;
    }
  }

  /** Frees a lock that no child has inherited. The unlock is explicit: a close alone waits for a fork in another thread. */
  free(): void {
    removeSidecar(this.path, this.#meta.token);
    this.#kernel.unlock(this.descriptor, self());
    closeSync(this.descriptor);
  }

  /**
   * Lets go of a lock that children had inherited: an unlock would take it from one that still lives unseen, so the
   * descriptor is only closed, and the kernel frees the lock with the last that has it.
   */
  letGo(): void {
    this.#meta = { ...this.#meta, released: wallClock().toISOString() };
    if (readSidecar(this.path)?.token === this.#meta.token) writeSidecar(this.path, this.#meta);
    closeSync(this.descriptor);
  }

  /** After {@link letGo}: whether nothing of this tenure holds the lock any more. Tidies the sidecar if so. */
  isFree(): boolean {
    if (readSidecar(this.path)?.token !== this.#meta.token || !this.#fileIsThere()) return true;
    const descriptor = open(this.path);
    try {
      if (!this.#kernel.tryLock(descriptor, self())) return false;
      removeSidecar(this.path, this.#meta.token);
      this.#kernel.unlock(descriptor, self());
      return true;
    } finally {
      closeSync(descriptor);
    }
  }

  #fileIsThere(): boolean {
    return statSync(this.path, { throwIfNoEntry: false })?.ino === this.inode;
  }
}

function open(path: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
  try {
    return openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o660);
  } catch (error) {
    throw directoryError(dirname(path), error);
  }
}

function isFileAt(path: string, { dev, ino }: Stats): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  return there?.dev === dev && there.ino === ino;
}

/** All users of the directory's group lock the same file, whatever the umask of the one that made it. */
function shareWithGroup(descriptor: number, { mode, uid }: Stats): void {
  if ((mode & 0o777) !== 0o660 && uid === process.getuid?.()) fchmodSync(descriptor, 0o660);
}

/** Grows with every tenure, also after a crash and when the clock was set back: the last one is kept in the file. */
function nextFence(descriptor: number): bigint {
  const text = Buffer.alloc(32);
  const last = /^\d+/.exec(text.toString('latin1', 0, readSync(descriptor, text, 0, text.length, 0)))?.[0] ?? '0';
  const microseconds = BigInt(wallClock().getTime()) * 1000n;
  const fence = BigInt(last) + 1n > microseconds ? BigInt(last) + 1n : microseconds;
  writeSync(descriptor, `${fence}\n`, 0);
  return fence;
}

/** Who holds the lock file at `path`, without touching the lock. */
export function inspectFile(
  path: string,
  key: string,
  table: ReturnType<typeof lockTable> = lockTable(),
): LockHolder | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw directoryError(dirname(path), error);
  }
  try {
    const { ino } = fstatSync(descriptor);
    const known = key || (readSidecar(path)?.key ?? '');
    return nameHolder({ path, key: known, inode: ino, device: kernelDevice(descriptor) }, table);
  } finally {
    closeSync(descriptor);
  }
}
