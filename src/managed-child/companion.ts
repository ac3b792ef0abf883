import type { ChildProcess } from 'node:child_process';
import { after, now } from '../internal/time.ts';

/** Until one that ended, or could not be started, is tried again; each time twice as long. */
const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 10_000;

/** One that has run for so long is replaced at once. */
const STABLE_MS = 1_000;

/** How long one may take to say that it runs, if it is to say so: Node hangs at its start where it gets too few threads. */
const START_LIMIT_MS = 10_000;

/**
 * A process beside this one that is told what to do, line by line, and ends by itself when its pipe is closed because this
 * process is gone. Should it end before, it is started again.
 */
export class Companion {
  readonly #spawn: (lines: readonly string[]) => ChildProcess;
  readonly #lines: () => readonly string[];
  #process: ChildProcess | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #isPausing = false;

  /**
   * @param spawn starts it, with lines to begin with; if it has a stdout, it writes there when it runs.
   * @param lines what it must know; while there are none it is not started by itself.
   */
  constructor(spawn: (lines: readonly string[]) => ChildProcess, lines: () => readonly string[]) {
    this.#spawn = spawn;
    this.#lines = lines;
  }

  get process(): ChildProcess | undefined {
    return this.#process;
  }

  /** Resolves when the lines have left this process, for what is left in it is lost if it is killed. */
  tell(...lines: readonly string[]): Promise<void> {
    const stdin = this.#process?.stdin;
    if (!stdin?.writable) return Promise.resolve(this.ensure());
    return new Promise((resolve) => {
      stdin.write(lines.map((line) => `${line}\n`).join(''), () => resolve());
    });
  }

  /** What was started is the companion only if it runs; else it emits an error. */
  start(): ChildProcess {
    const started = this.#spawn(this.#lines());
    const streams = [started.stdin, started.stdout];
    for (const emitter of [started, ...streams]) emitter?.on('error', ignore);
    if (started.pid === undefined) {
      for (const stream of streams) stream?.destroy(); // Node leaves them open
      return started;
    }
    this.#process = started;
    const startedMs = now();
    started.once('exit', () => {
      this.#process = undefined;
      if (now() - startedMs < STABLE_MS) return this.#pause();
      this.#pauseMs = FIRST_PAUSE_MS;
      this.ensure();
    });
    awaitWord(started);
    for (const handle of [started, ...streams]) (handle as { unref?(): void } | null)?.unref?.();
    return started;
  }

  /** Starts it if it does not run and has something to do; what hinders that now may pass, so it is tried again and again. */
  ensure(): void {
    if (this.#process || this.#isPausing || this.#lines().length === 0) return;
    try {
      this.start();
    } catch {
      // tried again below
    }
    if (!this.#process) this.#pause();
  }

  #pause(): void {
    this.#isPausing = true;
    const resume = () => {
      this.#isPausing = false;
      this.ensure();
    };
    after(this.#pauseMs, resume, { idle: true });
    this.#pauseMs = Math.min(this.#pauseMs * 2, LAST_PAUSE_MS);
  }
}

/** Ends one that is to say that it runs and doesn't. */
function awaitWord(started: ChildProcess): void {
  const { stdout } = started;
  if (!stdout) return;
  const limit = after(START_LIMIT_MS, () => started.kill('SIGKILL'), { idle: true });
  stdout.once('data', () => stdout.destroy());
  started.once('exit', () => stdout.destroy());
  stdout.once('close', () => limit[Symbol.dispose]());
}

function ignore(): void {}
