import { isatty } from 'node:tty';
import type { Publisher } from './app.ts';
import type { Logger } from './log.ts';

/** Past this an orderly end is given up; what is left ends with this process. Service managers wait for 10 s. */
const STOP_LIMIT_MS = 6_500;
/** Nobody presses Ctrl-C again because of what happened in so little time. */
const SAME_SIGNAL_MS = 250;
const STDIN = 0;

/** What the signals of the operating system mean: SIGTERM and SIGINT end the program, SIGHUP has it read its file again. */
export class LifeCycle {
  readonly #log: Logger;
  readonly #starting: Promise<Publisher>;
  readonly #reload: (publisher: Publisher) => Promise<void>;
  readonly #hadTerminal = isatty(STDIN);
  #firstAt: number | undefined;
  /** One after the other; of those that come meanwhile one is enough. */
  #reloading: Promise<void> | undefined;
  #isAskedAgain = false;

  constructor(starting: Promise<Publisher>, reload: (publisher: Publisher) => Promise<void>, log: Logger) {
    this.#log = log;
    this.#starting = starting;
    this.#reload = reload;
    const stop = (signal: NodeJS.Signals) => void this.#stop(signal);
    process
      .on('SIGINT', stop)
      .on('SIGTERM', stop)
      .on('SIGHUP', () => this.#hangUp());
  }

  /**
   * The first signal ends everything in order, the second at once: the children end with this process either way. One
   * Ctrl-C comes twice to a program that npm runs, from the terminal and from npm.
   */
  async #stop(signal: NodeJS.Signals): Promise<void> {
    if (this.#firstAt !== undefined) {
      if (performance.now() - this.#firstAt > SAME_SIGNAL_MS) process.exit(1);
      return;
    }
    this.#firstAt = performance.now();
    this.#log.info(`${signal}: stopping`);
    setTimeout(() => this.#giveUp(), STOP_LIMIT_MS).unref();
    const publisher = await this.#started();
    if (!publisher) return;
    const isWhole = await this.#end(publisher);
    this.#log.flush(); // what it hid as repeats
    this.#log.info('stopped');
    process.exit(isWhole ? 0 : 1);
  }

  /** Undefined if it did not start: whoever started it ends the program. */
  #started(): Promise<Publisher | undefined> {
    return this.#starting.catch(() => undefined);
  }

  async #end(publisher: Publisher): Promise<boolean> {
    try {
      await publisher.close();
      return true;
    } catch (err) {
      this.#log.error({ err }, `not everything could be ended: ${(err as Error).message}`);
      return false;
    }
  }

  #giveUp(): never {
    this.#log.error(`not everything has ended within ${STOP_LIMIT_MS / 1000} s: ending at once`);
    this.#log.flush();
    process.exit(1);
  }

  /** It says that the terminal is gone to whoever has one, and to read the configuration again to all others. */
  #hangUp(): void {
    if (this.#hadTerminal && !isatty(STDIN)) void this.#stop('SIGHUP');
    else if (this.#firstAt === undefined) this.#askToReload();
  }

  #askToReload(): void {
    this.#isAskedAgain = this.#reloading !== undefined;
    this.#reloading ??= this.#reloadOnce().finally(() => {
      this.#reloading = undefined;
      if (this.#isAskedAgain) this.#askToReload();
    });
  }

  async #reloadOnce(): Promise<void> {
    const publisher = await this.#started();
    if (publisher && this.#firstAt === undefined) await this.#reload(publisher);
  }
}
