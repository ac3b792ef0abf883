import type { ChildProcess } from 'node:child_process';
import { after, now } from '../internal/time.ts';

/** Between tries to replace one that was killed, where no process can be started. */
const RETRY_MS = 100;

/**
 * A process beside this one that is told what to do, line by line, and ends by itself when its pipe is closed because this
 * process is gone. Should it end before, it is started again.
 */
export class Companion {
  readonly #spawn: (lines: readonly string[]) => ChildProcess;
  readonly #lines: () => readonly string[];
  #process: ChildProcess | undefined;

  /**
   * @param spawn starts it, with lines to begin with.
   * @param lines what it must know; while there are none it is not started again.
   */
  constructor(spawn: (lines: readonly string[]) => ChildProcess, lines: () => readonly string[]) {
    this.#spawn = spawn;
    this.#lines = lines;
  }

  get process(): ChildProcess | undefined {
    return this.#process;
  }

  /** Resolves when the line has left this process, for what is left in it is lost if it is killed; or there is nobody to tell. */
  tell(line: string): Promise<void> {
    return new Promise((resolve) => {
      if (this.#process?.stdin?.writable) this.#process.stdin.write(`${line}\n`, () => resolve());
      else resolve();
    });
  }

  /** What was started is the companion only if it runs; else it emits an error. */
  start(): ChildProcess {
    const started = this.#spawn(this.#lines());
    for (const emitter of [started, started.stdin]) emitter?.on('error', ignore);
    if (started.pid === undefined) return started;
    this.#process = started;
    const startedMs = now();
    started.once('exit', () => {
      this.#process = undefined;
      // One that ends at once would do so again.
      if (now() - startedMs > RETRY_MS) this.ensure();
      else after(RETRY_MS, () => this.ensure(), { idle: true });
    });
    for (const handle of [started, started.stdin]) (handle as { unref?(): void } | null)?.unref?.();
    return started;
  }

  /** As long as there is something to tell it is tried again: what hinders it now may pass. */
  ensure(): void {
    if (this.#process || this.#lines().length === 0) return;
    try {
      this.start();
    } catch {
      // tried again below
    }
    if (!this.#process) after(RETRY_MS, () => this.ensure(), { idle: true });
  }
}

function ignore(): void {}
