import { HoldfastError } from './common.ts';

/** Who holds a source, as far as it could be found out. */
export interface LockHolder {
  /** The canonical identity of the source; see `sourceKey`. */
  key: string;
  /** The lock file. */
  path: string;
  /** The process that holds the lock now. */
  pid: number;
  host: string;
  /** When the lock was acquired: ISO 8601, UTC. */
  startedAt: string;
  /** Command line of the holder, credentials removed. */
  command: string;
  /**
   * How the name was established: `kernel+meta`, the kernel and the sidecar agree; `kernel`, the sidecar is not written
   * yet; `meta`, this system does not show locks (`/proc/locks`), or they are leases: the sidecar speaks for it, and a
   * living process or a heartbeat.
   */
  verified: 'kernel+meta' | 'kernel' | 'meta';
  /** Pids of the children that hold the lock together with their owner. */
  children?: number[];
  /** The dead owner whose child `pid` still holds the lock. */
  orphanOf?: number;
}

/** The source is held by another. Nothing was opened. */
export class SourceBusyError extends HoldfastError {
  readonly code = 'HOLDFAST_SOURCE_BUSY';
  override readonly retryable = true;
  readonly key: string;
  declare readonly holder?: LockHolder;

  constructor(key: string, holder: LockHolder | undefined) {
    super(`source ${key} is held by ${holder ? describeHolder(holder) : 'a process that could not be named'}`);
    this.key = key;
    if (holder) this.holder = holder;
  }
}

function describeHolder(holder: LockHolder): string {
  const orphan = holder.orphanOf === undefined ? '' : `, left behind by dead process ${holder.orphanOf}`;
  return `pid ${holder.pid} on ${holder.host} since ${holder.startedAt}${orphan}: ${holder.command}`;
}

/** `release()` timed out because children that hold the lock still live. The lock is kept, nothing was killed. */
export class LockInUseError extends HoldfastError {
  readonly code = 'HOLDFAST_LOCK_IN_USE';
  override readonly retryable = true;
  readonly key: string;
  readonly children: readonly number[];

  constructor(key: string, children: readonly number[], timeoutMs: number) {
    super(
      children.length > 0
        ? `the lock of ${key} is still held by child process ${children.join(', ')} after ${timeoutMs} ms; ` +
            'it is released when they end: terminate them, or dispose of the lock, which does'
        : `the lock of ${key} is not free ${timeoutMs} ms after its release began; that goes on`,
    );
    this.key = key;
    this.children = children;
  }
}

/** A lock was lost while it was held: its file was replaced or removed, its lease expired. The reason of `SourceLock.signal`. */
export class LockLostError extends HoldfastError {
  readonly code = 'HOLDFAST_LOCK_LOST';
  readonly key: string;
  readonly path: string;

  constructor(key: string, path: string, why: string) {
    super(`the lock of ${key} is lost: ${why} (${path}); stop using the source, another may have it by now`);
    this.key = key;
    this.path = path;
  }
}

/** What lacks at the moment, and may be there again the next. */
const PASSING: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM', 'ENOSPC']);

/** The lock directory or file can't be used; the message says which, why and what to do. */
export class LockDirectoryError extends HoldfastError {
  readonly code = 'HOLDFAST_LOCK_DIRECTORY';
  override readonly retryable: boolean;
  readonly path: string;

  constructor(path: string, message: string, cause?: unknown) {
    super(message, { cause });
    const reason = (cause as NodeJS.ErrnoException | undefined)?.code;
    this.retryable = reason !== undefined && PASSING.has(reason);
    this.path = path;
  }
}

/** Locks of the wanted kind can not be used on this system; the message says what to do, `cause` tells why. */
export class LockUnsupportedError extends HoldfastError {
  readonly code = 'HOLDFAST_LOCK_UNSUPPORTED';

  constructor(message: string, cause: unknown) {
    super(message, { cause });
  }
}
