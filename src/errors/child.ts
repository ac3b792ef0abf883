import { HoldfastError } from './common.ts';

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
const UNVERIFIED = 'none is seen any more, but this host is too busy to look for all that it started';

/**
 * Processes of a tree were not ended in time: they belong to another user, hang in the kernel, or have a grace that is longer.
 * `pids` is empty where none is seen any more, but a busy host has not let that be verified.
 */
export class TreeSurvivedError extends HoldfastError {
  readonly code = 'HOLDFAST_TREE_SURVIVED';
  readonly pids: readonly number[];

  constructor(command: string, pids: readonly number[], timeoutMs: number, why?: string) {
    const isSeen = pids.length > 0;
    const who = isSeen ? `process ${pids.join(', ')} still lives` : 'it may still live';
    const cause = why ?? (isSeen ? SURVIVAL : UNVERIFIED);
    super(
      `${command}: ${who} ${timeoutMs} ms after it was told to end (${cause}); it stays watched, \`closed\` stays pending`,
    );
    this.pids = pids;
  }
}
