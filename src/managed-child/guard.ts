import { once } from 'node:events';
import { constants } from 'node:os';
import type { Writable } from 'node:stream';
import { SpawnError } from '../errors.ts';
import type { ProcessIdentity } from '../internal/proc.ts';
import { after, hostNow, now } from '../internal/time.ts';
import { Companion } from './companion.ts';
import { canKeepLeases, spawnGuard, spawnLeaseKeeper } from './guard-process.ts';

/** How a group is ended, which is known before it is started. */
interface Manner {
  readonly graceMs: number;
  readonly termSignal: NodeJS.Signals;
  /** Which child of this process it is. */
  readonly sequence: number;
}

/** A process group that must not outlive this process, nor its lease. */
interface GuardedGroup extends Manner {
  readonly leader: ProcessIdentity;
  /** When its lease ends, by `now()`; `Infinity` for none. */
  deadlineMs: number;
}

/** How long a start waits until the guard has taken the line before; one that is stopped must not stop the service. */
const TAKE_LIMIT_MS = 1_000;

/** Thirty years; shells and their tools disagree on what is more. */
const MAX_NAP_MS = 1e12;

/**
 * The guard is one small process beside this Node process (one per worker thread that starts children), in a session of its
 * own, tied to it by a pipe. The kernel closes the pipe when this process ends, however it ends, `kill -9` included; the
 * guard then ends every group registered. It is started with the first child and, should it die, again with all that is
 * registered.
 *
 * With the first lease a second one is started, the lease keeper: it ends a tree whose lease expires, for this process may be
 * blocked or stopped by then, and is a Node program, since for a shell many leases that end at once are too many. The guard
 * kills the group at the deadline as well, should the keeper be gone.
 */
class Guard {
  readonly #groups = new Map<number, GuardedGroup>();
  readonly #shell = new Companion(spawnGuard, () => [...this.#groups.values()].flatMap(linesOf));
  readonly #keeper = new Companion(spawnLeaseKeeper, () =>
    canKeepLeases() ? [...this.#groups.values()].filter(isLeased).flatMap(linesOf) : [],
  );

  /** Settles when what was told last has left this process. */
  #told: Promise<void> = Promise.resolve();
  #turn: Promise<void> = Promise.resolve();

  /**
   * Starts a child under the guard, which runs before it. One after the other, and the next when the guard's pipe has taken
   * the registration of the last: where many are started on a busy machine it may be full.
   */
  async inTurn<T>(start: (pipe: Writable) => Promise<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#turn;
    this.#turn = promise;
    await before;
    try {
      const pipe = await this.#pipe();
      this.#tell('?');
      return await start(pipe);
    } finally {
      const limit = after(TAKE_LIMIT_MS, resolve, { idle: true });
      this.#told.then(() => {
        limit[Symbol.dispose]();
        resolve();
      });
    }
  }

  add(group: GuardedGroup): void {
    this.#groups.set(group.leader.pid, group);
    this.#tell(...linesOf(group));
    if (isLeased(group)) this.#keeper.tell(...linesOf(group));
  }

  /** The group is killed at the deadline, by `now()`, unless another is set before; at none for `Infinity`. */
  lease(pgid: number, deadlineMs: number): void {
    const group = this.#groups.get(pgid);
    if (!group) return;
    group.deadlineMs = deadlineMs;
    this.#tell(encodeLease(group));
    this.#keeper.tell(encodeGroup(group), encodeLease(group));
  }

  forget(pgid: number): void {
    this.#groups.delete(pgid);
    this.#tell(`- ${pgid}`);
    this.#keeper.tell(`- ${pgid}`);
  }

  #tell(...lines: readonly string[]): void {
    this.#told = this.#shell.tell(...lines);
  }

  /** Where lines to the guard go. */
  async #pipe(): Promise<Writable> {
    const { process: running } = this.#shell;
    if (running) return running.stdin as Writable;
    let cause: unknown;
    try {
      const started = this.#shell.start();
      if (this.#shell.process === started) return started.stdin as Writable;
      [cause] = await once(started, 'error');
    } catch (error) {
      cause = error;
    }
    throw new SpawnError('/bin/sh (the guard of child processes)', cause);
  }
}

function isLeased({ deadlineMs }: GuardedGroup): boolean {
  return deadlineMs !== Number.POSITIVE_INFINITY;
}

/** What a guard must be told of a group. */
function linesOf(group: GuardedGroup): string[] {
  return isLeased(group) ? [encodeGroup(group), encodeLease(group)] : [encodeGroup(group)];
}

function encodeGroup({ leader, ...group }: GuardedGroup): string {
  return `+ ${[leader.pid, leader.startTicks, encodeManner(group)].join(':')}`;
}

export function encodeManner({ graceMs, termSignal, sequence }: Manner): string {
  return [Math.ceil(graceMs), constants.signals[termSignal], sequence].join(':');
}

function encodeLease(group: GuardedGroup): string {
  const { leader, deadlineMs } = group;
  if (!isLeased(group)) return `L ${leader.pid}`;
  const leftMs = Math.min(Math.max(deadlineMs - now(), 0), MAX_NAP_MS);
  return `l ${leader.pid} ${Math.ceil(leftMs)} ${Math.ceil(hostNow() + leftMs)}`;
}

/** The guard of this process. */
export const guard: Guard = new Guard();
