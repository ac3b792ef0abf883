import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { SpawnError } from '../errors.ts';
import type { ProcessIdentity } from '../internal/proc.ts';
import { after } from '../internal/time.ts';
import { inheritedLocks } from './descriptors.ts';
import { GUARD_SCRIPT } from './guard-script.ts';

/** A process group that must not outlive this process, by its leader. */
interface GuardedGroup {
  readonly leader: ProcessIdentity;
  readonly graceMs: number;
  readonly termSignal: NodeJS.Signals;
}

/** How long a start waits until the guard has taken the line before; one that is stopped must not stop the service. */
const TAKE_LIMIT_MS = 1_000;

/** Between tries to replace a guard that was killed, where no process can be started. */
const RETRY_MS = 100;

/**
 * The guard is one `/bin/sh` beside this Node process, in a session of its own, tied to it by a pipe. The kernel closes
 * the pipe when this process ends, however it ends, `kill -9` included; the guard then ends every group registered.
 * It is started with the first child and, should it die, again with all that is registered.
 */
class Guard {
  readonly #groups = new Map<number, GuardedGroup>();
  #shell: ChildProcess | undefined;

  /** Settles when what was told last has left this process, for what is left in it is lost if it is killed. */
  #told: Promise<void> = Promise.resolve();
  #turn: Promise<void> = Promise.resolve();

  /**
   * Starts a child under the guard, which runs before it. One after the other, and the next when the guard's pipe has taken
   * the registration of the last: where many are started on a busy machine it may be full.
   */
  async inTurn<T>(start: () => Promise<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#turn;
    this.#turn = promise;
    await before;
    try {
      await this.#ensure();
      return await start();
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
    if (this.#shell) this.#tell(`+ ${encode(group)}\n`);
    else this.#replace();
  }

  forget(pgid: number): void {
    this.#groups.delete(pgid);
    this.#tell(`- ${pgid}\n`);
  }

  #tell(line: string): void {
    this.#told = new Promise((resolve) => {
      if (this.#shell?.stdin?.writable) this.#shell.stdin.write(line, () => resolve());
      else resolve();
    });
  }

  async #ensure(): Promise<void> {
    if (this.#shell) return;
    let cause: unknown;
    try {
      const shell = this.#start();
      if (this.#shell === shell) return;
      [cause] = await once(shell, 'error');
    } catch (error) {
      cause = error;
    }
    throw new SpawnError('/bin/sh (the guard of child processes)', cause);
  }

  /** The shell that was started is the guard only if it runs. */
  #start(): ChildProcess {
    const shell = spawnShell([...this.#groups.values()].map(encode));
    shell.on('error', ignore);
    shell.stdin?.on('error', ignore);
    if (shell.pid === undefined) return shell;
    this.#shell = shell;
    shell.once('exit', () => {
      this.#shell = undefined;
      this.#replace();
    });
    shell.unref();
    (shell.stdin as { unref?(): void } | null)?.unref?.();
    return shell;
  }

  /** As long as there is something to guard it is tried again: what hinders it now may pass. */
  #replace(): void {
    if (this.#shell || this.#groups.size === 0) return;
    try {
      this.#start();
    } catch {
      // told by the next spawn
    }
    if (!this.#shell) after(RETRY_MS, () => this.#replace(), { idle: true });
  }
}

function encode({ leader, graceMs, termSignal }: GuardedGroup): string {
  return [leader.pid, leader.startTicks, Math.ceil(graceMs), constants.signals[termSignal]].join(':');
}

/**
 * `argv[0]` must be `sh`: Node's pipe is a socket, and a shell called otherwise may read start-up files from it. The guard
 * outlives this process for a moment and must not keep its locks, so `/dev/null` is laid over them.
 */
function spawnShell(groups: readonly string[]): ChildProcess {
  const stdio: ('pipe' | 'ignore' | number)[] = ['pipe', 'ignore', 'ignore'];
  const devNull = openSync('/dev/null', 'r+');
  for (const descriptor of inheritedLocks()) {
    while (stdio.length < descriptor) stdio.push('ignore');
    stdio[descriptor] = devNull;
  }
  const env = { PATH: process.env.PATH ?? '/usr/bin:/bin' };
  try {
    return spawn('/bin/sh', ['-c', GUARD_SCRIPT, 'holdfast-guard', ...groups], {
      argv0: 'sh',
      cwd: '/',
      detached: true,
      env,
      stdio,
    });
  } finally {
    closeSync(devNull);
  }
}

function ignore(): void {}

/** The guard of this process. */
export const guard: Guard = new Guard();
