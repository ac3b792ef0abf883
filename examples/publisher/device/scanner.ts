import type { Scan } from '../../hdhomerun/index.ts';

/** A refresh takes no longer: every provider has a limit of its own. */
const LONGEST_MS = 10_000;
/** A scan that is wanted again so soon has just been done: nobody can make providers be asked without a pause. */
const PAUSE_MS = 1_000;

/** The channel scan that players can start: every provider is asked for its channels now. */
export class Scanner {
  readonly #refresh: () => Promise<unknown>;
  readonly #found: () => number;
  #startedAt = Number.NEGATIVE_INFINITY;
  #current: symbol | undefined;

  constructor(refresh: () => Promise<unknown>, found: () => number) {
    this.#refresh = refresh;
    this.#found = found;
  }

  get state(): Scan | undefined {
    if (!this.#current) return undefined;
    const share = (performance.now() - this.#startedAt) / LONGEST_MS;
    return { progressPercent: Math.min(99, Math.floor(share * 100)), found: this.#found() };
  }

  start(): void {
    if (this.#current || performance.now() - this.#startedAt < PAUSE_MS) return;
    this.#startedAt = performance.now();
    const current = Symbol('scan');
    this.#current = current;
    const done = () => {
      if (this.#current === current) this.#current = undefined;
    };
    this.#refresh().then(done, done);
  }

  /** What was asked answers all the same. */
  abort(): void {
    this.#current = undefined;
  }
}
