/**
 * Every error that holdfast throws. Each throw makes a fresh instance, so a stack always tells the place that failed.
 *
 * Catch by class or by `code`: `HOLDFAST_` and the class name without `Error` in upper snake case
 * (`SourceBusyError` is `HOLDFAST_SOURCE_BUSY`).
 */

/** What all errors of this package have in common. */
export abstract class HoldfastError extends Error {
  /** Stable and unique to the class. */
  abstract readonly code: string;
  /** Whether the same call may succeed later without a change of its arguments. */
  readonly retryable: boolean = false;
  /** In how many milliseconds a retry makes sense, where that is known. */
  declare readonly retryAfterMs?: number;

  override get name(): string {
    return this.constructor.name;
  }
}

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

/** The command could not be started; `cause` is the system's error (`ENOENT`, `EACCES`, `EMFILE`, …). */
export class SpawnError extends HoldfastError {
  readonly code = 'HOLDFAST_SPAWN';
  override readonly retryable: boolean;
  readonly command: string;

  constructor(command: string, cause: unknown, why?: string) {
    const reason = (cause as NodeJS.ErrnoException | undefined)?.code ?? String(cause);
    super(`cannot start ${command}: ${why ?? SPAWN_HINTS[reason] ?? reason}`, { cause });
    this.command = command;
    this.retryable = reason === 'EAGAIN' || reason === 'EMFILE' || reason === 'ENFILE' || reason === 'ENOMEM';
  }
}

/** A lease had ended before anything was started under it. */
export class LeaseExpiredError extends HoldfastError {
  readonly code = 'HOLDFAST_LEASE_EXPIRED';

  constructor(command: string, ageMs: number) {
    super(`cannot start ${command}: its lease ended ${Math.round(ageMs)} ms ago; acquire the source anew`);
  }
}

/** `containment: 'cgroup'` was asked for and no cgroup can be made; the message tells why. */
export class ContainmentError extends HoldfastError {
  readonly code = 'HOLDFAST_CONTAINMENT';

  constructor(why: string) {
    super(
      `containment 'cgroup' can't be had: ${why}; delegate a cgroup v2 (systemd: Delegate=yes), ` +
        "or take 'auto', which does without where there is none",
    );
  }
}

const SPAWN_HINTS: Record<string, string> = {
  ENOENT: 'no such program, or interpreter of a script (ENOENT); install it, correct the path, or set PATH',
  EACCES: 'not executable for this user (EACCES); see its mode, or correct the path',
  EPERM: 'not permitted for this user (EPERM)',
  EAGAIN: 'the limit of processes is reached (EAGAIN); see ulimit -u and the service’s TasksMax',
  EMFILE: 'this process has too many open files (EMFILE); see ulimit -n',
  ENFILE: 'the system has too many open files (ENFILE)',
  EINVAL: 'refused by the system (EINVAL); the descriptor of a held lock is 60 or above: see ulimit -n',
  E2BIG: 'arguments and environment are too long (E2BIG)',
  ENOEXEC: 'not a program of this machine (ENOEXEC)',
};

/** How a child ended. */
export interface ChildExit {
  /** Exit code of the leader; `null` if a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
  durationMs: number;
  /** Processes of the tree that had left its process group and were found and ended. */
  escapees: number;
  /** The last part of what was written to stderr. */
  stderrTail: string;
  /** The first cause; what happened later does not change it. */
  reason: 'exited' | 'aborted' | 'terminated' | 'stalled' | 'not-ready' | 'lock-lost' | 'lease-expired';
}

/** The child ended although it was wanted: before it was ready, or as the source of a hub that has viewers. */
export class ChildExitError extends HoldfastError {
  readonly code = 'HOLDFAST_CHILD_EXIT';
  override readonly retryable = true;
  readonly exit: ChildExit;

  constructor(command: string, exit: ChildExit) {
    super(`${command} ended ${describeExit(exit)}${indentTail(exit.stderrTail)}`);
    this.exit = exit;
  }
}

function describeExit(exit: ChildExit): string {
  const how = exit.signal ? `by ${exit.signal}` : `with exit code ${exit.code}`;
  return `${how} after ${Math.round(exit.durationMs)} ms${exit.reason === 'exited' ? '' : ` (${exit.reason})`}`;
}

function indentTail(stderrTail: string): string {
  const tail = stderrTail.trim();
  return tail ? `; its last words:\n  ${tail.split('\n').slice(-8).join('\n  ')}` : '; it wrote nothing to stderr';
}

/** The child was not ready in time and its tree was ended. */
export class ReadyTimeoutError extends HoldfastError {
  readonly code = 'HOLDFAST_READY_TIMEOUT';
  override readonly retryable = true;
  readonly exit: ChildExit;

  constructor(command: string, timeoutMs: number, exit: ChildExit) {
    super(`${command} was not ready within ${timeoutMs} ms and was ended${indentTail(exit.stderrTail)}`);
    this.exit = exit;
  }
}

const SURVIVAL = 'another user’s, or uninterruptible in the kernel';

/** Processes of a tree were not ended in time: they belong to another user, hang in the kernel, or have a grace that is longer. */
export class TreeSurvivedError extends HoldfastError {
  readonly code = 'HOLDFAST_TREE_SURVIVED';
  readonly pids: readonly number[];

  constructor(command: string, pids: readonly number[], timeoutMs: number, why: string = SURVIVAL) {
    super(
      `${command}: process ${pids.join(', ')} still lives ${timeoutMs} ms after it was told to end ` +
        `(${why}); it stays watched, \`closed\` stays pending`,
    );
    this.pids = pids;
  }
}

/** The source of a hub gave no byte in `startTimeoutMs`; it was closed. */
export class SourceStartTimeoutError extends HoldfastError {
  readonly code = 'HOLDFAST_SOURCE_START_TIMEOUT';
  override readonly retryable = true;

  constructor(name: string, timeoutMs: number) {
    super(`the source of ${name} gave no byte within ${timeoutMs} ms`);
  }
}

/** A live source gave no byte for `stallTimeoutMs`; it was closed. */
export class SourceStalledError extends HoldfastError {
  readonly code = 'HOLDFAST_SOURCE_STALLED';
  override readonly retryable = true;

  constructor(name: string, timeoutMs: number) {
    super(`the source of ${name} gave no byte for ${timeoutMs} ms`);
  }
}

/** The source ended before it gave a byte. */
export class SourceEndedError extends HoldfastError {
  readonly code = 'HOLDFAST_SOURCE_ENDED';
  override readonly retryable = true;

  constructor(name: string, detail?: string) {
    super(`the source of ${name} ended without a byte${detail ? `: ${detail}` : ''}`);
  }
}

/** The hub has `maxSubscribers` already. */
export class SubscriberLimitError extends HoldfastError {
  readonly code = 'HOLDFAST_SUBSCRIBER_LIMIT';
  override readonly retryable = true;

  constructor(name: string, maxSubscribers: number) {
    super(`${name} has ${maxSubscribers} subscribers already, its limit (maxSubscribers)`);
  }
}

/** A subscriber was further behind the head than it may be and was dropped; the others go on. */
export class SubscriberLaggedError extends HoldfastError {
  readonly code = 'HOLDFAST_SUBSCRIBER_LAGGED';
  override readonly retryable = true;
  /** How far behind it was, as far as this process can see: the kernel's buffers come on top. */
  readonly lagBytes: number;

  constructor(name: string, lagBytes: number, bound: string) {
    super(`a subscriber of ${name} was dropped: ${lagBytes} bytes behind, ${bound}`);
    this.lagBytes = lagBytes;
  }
}

/** The object was closed; the call has no effect. */
export class ClosedError extends HoldfastError {
  readonly code = 'HOLDFAST_CLOSED';

  constructor(what: string) {
    super(`${what} is closed`);
  }
}
