import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { SpawnError } from '../errors.ts';
import type { ProcessIdentity } from '../internal/proc.ts';
import { after, now } from '../internal/time.ts';
import { spawnGuard } from './guard-process.ts';

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
  /** Called before the group is seen to end, if its lease was the cause. */
  readonly onExpired: () => void;
}

/** How long a start waits until the guard has taken the line before; one that is stopped must not stop the service. */
const TAKE_LIMIT_MS = 1_000;

/** Between tries to replace a guard that was killed, where no process can be started. */
const RETRY_MS = 100;

/** Thirty years; shells and their tools disagree on what is more. */
const MAX_NAP_MS = 1e12;

/**
 * The guard is one small process beside this Node process (one per worker thread that starts children), in a session of its
 * own, tied to it by a pipe. The kernel closes the pipe when this process ends, however it ends, `kill -9` included; the
 * guard then ends every group registered. It also ends a group whose lease expires, for this process may be blocked or
 * stopped by then. It is started with the first child and, should it die, again with all that is registered.
 */
class Guard {
  readonly #groups = new Map<number, GuardedGroup>();
  #process: ChildProcess | undefined;

  /** Settles when what was told last has left this process, for what is left in it is lost if it is killed. */
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
      const { stdin } = await this.#ensure();
      this.#tell('?');
      return await start(stdin as Writable);
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
    if (!this.#process) this.#replace();
    else for (const line of linesOf(group)) this.#tell(line);
  }

  /** The group is killed at the deadline, by `now()`, unless another is set before; at none for `Infinity`. */
  lease(pgid: number, deadlineMs: number): void {
    const group = this.#groups.get(pgid);
    if (!group) return;
    group.deadlineMs = deadlineMs;
    this.#tell(encodeLease(group));
  }

  forget(pgid: number): void {
    this.#groups.delete(pgid);
    this.#tell(`- ${pgid}`);
  }

  #tell(line: string): void {
    this.#told = new Promise((resolve) => {
      if (this.#process?.stdin?.writable) this.#process.stdin.write(`${line}\n`, () => resolve());
      else resolve();
    });
  }

  async #ensure(): Promise<ChildProcess> {
    if (this.#process) return this.#process;
    let cause: unknown;
    try {
      const started = this.#start();
      if (this.#process === started) return started;
      [cause] = await once(started, 'error');
    } catch (error) {
      cause = error;
    }
    throw new SpawnError('/bin/sh (the guard of child processes)', cause);
  }

  /** What was started is the guard only if it runs. */
  #start(): ChildProcess {
    const started = spawnGuard([...this.#groups.values()].flatMap(linesOf));
    for (const emitter of [started, started.stdin, started.stdout]) emitter?.on('error', ignore);
    if (started.pid === undefined) return started;
    this.#process = started;
    const startedMs = now();
    started.once('exit', () => {
      started.stdout?.destroy();
      this.#process = undefined;
      // One that ends at once would do so again.
      if (now() - startedMs > RETRY_MS) this.#replace();
      else after(RETRY_MS, () => this.#replace(), { idle: true });
    });
    for (const handle of [started, started.stdin, started.stdout]) (handle as { unref?(): void } | null)?.unref?.();
    this.#listen(started.stdout as Readable);
    return started;
  }

  #listen(answers: Readable): void {
    let rest = '';
    answers.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() as string;
      for (const line of lines) this.#groups.get(Number(line.slice('expired '.length)))?.onExpired();
    });
  }

  /** As long as there is something to guard it is tried again: what hinders it now may pass. */
  #replace(): void {
    if (this.#process || this.#groups.size === 0) return;
    try {
      this.#start();
    } catch {
      // told by the next spawn
    }
    if (!this.#process) after(RETRY_MS, () => this.#replace(), { idle: true });
  }
}

/** What a guard must be told of a group. */
function linesOf(group: GuardedGroup): string[] {
  const isLeased = group.deadlineMs !== Number.POSITIVE_INFINITY;
  return isLeased ? [encodeGroup(group), encodeLease(group)] : [encodeGroup(group)];
}

function encodeGroup({ leader, ...group }: GuardedGroup): string {
  return `+ ${[leader.pid, leader.startTicks, encodeManner(group)].join(':')}`;
}

export function encodeManner({ graceMs, termSignal, sequence }: Manner): string {
  return [Math.ceil(graceMs), constants.signals[termSignal], sequence].join(':');
}

function encodeLease({ leader, deadlineMs }: GuardedGroup): string {
  if (deadlineMs === Number.POSITIVE_INFINITY) return `L ${leader.pid}`;
  return `l ${leader.pid} ${Math.floor(Math.min(Math.max(deadlineMs - now(), 0), MAX_NAP_MS))}`;
}

function ignore(): void {}

/** The guard of this process. */
export const guard: Guard = new Guard();
