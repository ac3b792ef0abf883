import type { ManagedChild } from '../managed-child/managed-child.ts';

/** What asks the command to end; the others are passed on and that is all. */
const ENDING = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const PASSED = ['SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT'] as const;

/**
 * Passes the signals that this process gets on to the command's process group, which no terminal reaches: it is in a session
 * of its own.
 */
export class SignalRelay implements Disposable {
  readonly #waiting = new AbortController();
  readonly #handlers: readonly (readonly [NodeJS.Signals, () => void])[];
  #child: ManagedChild | undefined;
  #isEnding = false;

  constructor() {
    this.#handlers = [
      ...ENDING.map((signal) => [signal, () => this.#end(signal)] as const),
      ...PASSED.map((signal) => [signal, () => this.#send(signal)] as const),
      ['SIGTSTP', () => this.#stop()],
    ];
    for (const [signal, handler] of this.#handlers) process.on(signal, handler);
  }

  /** Aborts when this process is asked to end before there is a command. */
  get waiting(): AbortSignal {
    return this.#waiting.signal;
  }

  /** The signal that did. */
  get early(): NodeJS.Signals | undefined {
    return this.#waiting.signal.reason;
  }

  /** From now on the command gets them, also one that came while it was being started. */
  passTo(child: ManagedChild): void {
    this.#child = child;
    // Its number may be a stranger's after that.
    child.exited.then(() => {
      this.#child = undefined;
    });
    if (this.#waiting.signal.aborted) this.#end(this.#waiting.signal.reason);
  }

  [Symbol.dispose](): void {
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
  }

  #end(signal: (typeof ENDING)[number]): void {
    const child = this.#child;
    if (!child) this.#waiting.abort(signal);
    else if (this.#isEnding) this.#send(signal);
    else {
      this.#isEnding = true;
      child.terminate(signal, { termSignal: signal }).catch(() => {}); // told by who waits for its end
    }
  }

  /** SIGTSTP does nothing in a process group that no shell controls, so it is SIGSTOP. */
  #stop(): void {
    this.#send('SIGSTOP');
    process.kill(process.pid, 'SIGSTOP');
  }

  #send(signal: NodeJS.Signals): void {
    if (!this.#child) return;
    try {
      process.kill(-this.#child.pid, signal);
    } catch {
      // it is just gone, or another user's by now (sudo)
    }
  }
}
