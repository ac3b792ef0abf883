import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { SpawnError } from '../errors.ts';
import { FIRST_HELD_DESCRIPTOR } from './descriptors.ts';
import { GUARD_SCRIPT } from './guard-script.ts';

/** A process group that must not outlive this process. */
export interface GuardedGroup {
  readonly pgid: number;
  readonly startTicks: number;
  readonly graceMs: number;
  readonly termSignal: NodeJS.Signals;
}

/**
 * The guard is one `/bin/sh` beside this Node process, in a session of its own, tied to it by a pipe. The kernel closes
 * the pipe when this process ends, however it ends, `kill -9` included; the guard then ends every group registered.
 * It is started with the first child and, should it die, again with all that is registered.
 */
class Guard {
  readonly #groups = new Map<number, GuardedGroup>();
  #shell: ChildProcess | undefined;

  /** Starts the guard unless it runs. Call it before the child is started. */
  async ensure(): Promise<void> {
    const shell = this.#shell ?? this.#start();
    if (shell.pid !== undefined) return;
    throw await new Promise<SpawnError>((resolve) => {
      shell.once('error', (cause) => resolve(new SpawnError('/bin/sh (the guard of child processes)', cause)));
    });
  }

  add(group: GuardedGroup): void {
    this.#groups.set(group.pgid, group);
    if (this.#shell) this.#tell(addLine(group));
    else this.#start();
  }

  forget(pgid: number): void {
    this.#groups.delete(pgid);
    this.#tell(`- ${pgid}\n`);
  }

  #tell(line: string): void {
    this.#shell?.stdin?.write(line);
  }

  #start(): ChildProcess {
    const shell = spawnShell();
    // Kept only if it runs: a failed start is tried again with the next child.
    if (shell.pid !== undefined) this.#shell = shell;
    shell.on('error', () => {});
    shell.on('exit', () => this.#replace(shell));
    shell.stdin?.on('error', () => {});
    shell.unref();
    (shell.stdin as { unref?(): void } | null)?.unref?.();
    for (const group of this.#groups.values()) this.#tell(addLine(group));
    return shell;
  }

  #replace(dead: ChildProcess): void {
    if (this.#shell !== dead) return;
    this.#shell = undefined;
    if (this.#groups.size > 0) this.#start();
  }
}

function addLine({ pgid, startTicks, graceMs, termSignal }: GuardedGroup): string {
  return `+ ${pgid} ${startTicks} ${Math.ceil(graceMs)} ${termSignal.replace(/^SIG/, '')}\n`;
}

/** `argv[0]` must be `sh`: Node's pipe is a socket, and a shell called otherwise may read start-up files from it. */
function spawnShell(): ChildProcess {
  const overlay = inheritedDescriptors();
  const devNull = overlay.length > 0 ? openSync('/dev/null', 'r+') : undefined;
  const stdio: ('pipe' | 'ignore' | number)[] = ['pipe', 'ignore', 'ignore'];
  for (const descriptor of overlay) {
    while (stdio.length < descriptor) stdio.push('ignore');
    stdio[descriptor] = devNull as number;
  }
  try {
    return spawn('/bin/sh', ['-c', GUARD_SCRIPT, 'holdfast-guard'], {
      argv0: 'sh',
      cwd: '/',
      detached: true,
      env: { PATH: process.env.PATH ?? '/usr/bin:/bin' },
      stdio,
    });
  } finally {
    if (devNull !== undefined) closeSync(devNull);
  }
}

/**
 * Descriptors this process may itself hold for its own owner. The guard outlives this process for a moment and must not
 * keep such a lock, so `/dev/null` is laid over them.
 */
function inheritedDescriptors(): number[] {
  try {
    const isHeld = (descriptor: number) =>
      descriptor >= FIRST_HELD_DESCRIPTOR && descriptor < FIRST_HELD_DESCRIPTOR + 64;
    return readdirSync('/proc/self/fd')
      .map(Number)
      .filter(isHeld)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

/** The guard of this process. */
export const guard: Guard = new Guard();
