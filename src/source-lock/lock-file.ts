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
import { displacedHolder, nameHolder, toHolder } from './holder.ts';
import { type KernelLock, kernelDevice, lockTable } from './kernel-lock.ts';
import { newSidecar, readSidecar, removeSidecar, type Sidecar, writeSidecar } from './sidecar.ts';

/** Where a lock is kept. */
export interface LockPlace {
  readonly key: string;
  readonly path: string;
}

/**
 * One lock file that this process has locked. All calls are synchronous: each is a handful of system calls on a local
 * file system, and nothing of this process can come between them.
 *
 * It is taken first and its tenure begun after: who takes several must not touch the sidecar of one before it has all.
 */
export class LockFile implements LockPlace {
  readonly key: string;
  readonly path: string;
  readonly descriptor: number;
  readonly #kernel: KernelLock;
  readonly #stats: Stats;
  #tenure: { readonly fence: bigint; readonly reclaimedFrom: LockHolder | undefined; meta: Sidecar } | undefined;

  /** Takes the lock, or answers undefined if another holds it. */
  static take(kernel: KernelLock, { key, path }: LockPlace): LockFile | undefined {
    for (;;) {
      const file = new LockFile(kernel, { key, path }, open(path));
      try {
        if (!kernel.tryLock(file.descriptor, self())) return file.#closed();
        if (file.isInPlace()) return file.#isHeldByDisplaced() ? file.#closed() : file;
      } catch (error) {
        file.#closed();
        throw error;
      }
      file.#closed(); // replaced between open and lock
    }
  }

  private constructor(kernel: KernelLock, { key, path }: LockPlace, descriptor: number) {
    this.#kernel = kernel;
    this.key = key;
    this.path = path;
    this.descriptor = descriptor;
    this.#stats = fstatSync(descriptor);
  }

  /** Grows with every tenure. */
  get fence(): bigint {
    return this.#tenure?.fence ?? 0n;
  }

  /** The dead holder this tenure follows. */
  get reclaimedFrom(): LockHolder | undefined {
    return this.#tenure?.reclaimedFrom;
  }

  /** Says whose the lock is now; until then a refusal names this process from the kernel alone. */
  begin(command: string | undefined): void {
    shareWithGroup(this.descriptor, this.#stats);
    // The lock is ours, so whoever wrote the sidecar that is still there is dead, unless it had let go.
    const left = readSidecar(this.path);
    const reclaimedFrom = left && !left.released ? toHolder(this, left, 'meta') : undefined;
    const fence = nextFence(this.descriptor);
    const meta = newSidecar({ key: this.key, fence: String(fence), lockInode: this.#stats.ino }, command);
    this.#tenure = { fence, reclaimedFrom, meta };
    writeSidecar(this.path, meta);
  }

  /** Records the children that hold the lock too, so that a refusal can name them after this process is dead. */
  recordChildren(children: readonly ProcessIdentity[]): void {
    this.#amend({ children: children.map(({ pid, startTicks }) => ({ pid, startTicks })) });
  }

  /** Whether the file at the path is still the one that is locked; true while that can't be told. */
  isInPlace(): boolean {
    try {
      const there = statSync(this.path, { throwIfNoEntry: false });
      return there?.dev === this.#stats.dev && there.ino === this.#stats.ino;
    } catch {
      return true;
    }
  }

  /** Frees a lock that no child has inherited. The unlock is explicit: a close alone waits for a fork in another thread. */
  free(): void {
    try {
      this.#tidy();
    } finally {
      this.#kernel.unlock(this.descriptor, self());
      closeSync(this.descriptor);
    }
  }

  /**
   * Lets go of a lock that children had inherited: an unlock would take it from one that still lives unseen, so the
   * descriptor is only closed, and the kernel frees the lock with the last that has it.
   */
  letGo(): void {
    try {
      this.#amend({ released: wallClock().toISOString() });
    } finally {
      closeSync(this.descriptor);
    }
  }

  /** After {@link letGo}: whether nothing of this tenure holds the lock any more. If so its sidecar is gone too. */
  tryTidy(): boolean {
    if (!this.#isOurs() || statSync(this.path, { throwIfNoEntry: false })?.ino !== this.#stats.ino) return true;
    const descriptor = open(this.path);
    try {
      if (!this.#kernel.tryLock(descriptor, self())) return false;
      this.#tidy();
      this.#kernel.unlock(descriptor, self());
      return true;
    } finally {
      closeSync(descriptor);
    }
  }

  #closed(): undefined {
    closeSync(this.descriptor);
  }

  /** The holder of a file that was moved away from this path lives: the source is its own all the same. */
  #isHeldByDisplaced(): boolean {
    return displacedHolder(this, this.#stats.ino, readSidecar(this.path)) !== undefined;
  }

  /** A sidecar of another tenure is not ours to write. */
  #isOurs(): boolean {
    return this.#tenure !== undefined && readSidecar(this.path)?.token === this.#tenure.meta.token;
  }

  #amend(change: Partial<Sidecar>): void {
    if (!this.#tenure || !this.#isOurs()) return;
    this.#tenure.meta = { ...this.#tenure.meta, ...change };
    writeSidecar(this.path, this.#tenure.meta);
  }

  #tidy(): void {
    if (this.#isOurs()) removeSidecar(this.path);
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

/** Who holds the lock file at `path`, without touching the lock. Without a key, the sidecar's is told. */
export function inspectFile(
  { key, path }: { readonly key?: string; readonly path: string },
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
    const known = key ?? readSidecar(path)?.key ?? '';
    return nameHolder({ path, key: known, inode: ino, device: kernelDevice(descriptor) }, table);
  } finally {
    closeSync(descriptor);
  }
}
