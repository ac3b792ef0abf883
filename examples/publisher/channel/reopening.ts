import type { FanoutReopen } from 'holdfast';
import type { Logger } from '../log.ts';
import type { ListVerdict } from './source-list.ts';

/** Who watches while something else has the source, or this host is full, waits for so long unless the error tells better. */
export const BUSY_RETRY_MS = 5_000;

type Verdict = Exclude<ReturnType<FanoutReopen>, false>;

/** Decides when a channel that is watched is opened again after its source ended, and says so once. */
export class Reopening {
  readonly #id: string;
  readonly #gates: () => ListVerdict;
  readonly #log: Logger;
  /** Not before, by `performance.now()`. */
  #postponedUntil = 0;
  #isTold = false;

  /** @param gates whether any source of it may be opened now */
  constructor(id: string, gates: () => ListVerdict, log: Logger) {
    this.#id = id;
    this.#gates = gates;
    this.#log = log;
  }

  ask(): Verdict {
    const verdict = this.#verdict();
    if (!verdict.allowed && !this.#isTold) {
      this.#isTold = true;
      const { why } = verdict;
      const seconds = Math.ceil(verdict.retryAfterMs / 1_000);
      this.#log.info({ why }, `channel ${this.#id}: its viewers wait, it is opened again in ${seconds} s (${why})`);
    }
    return verdict;
  }

  opened(): void {
    this.#isTold = false;
  }

  /** Much may have changed. */
  askAtOnce(): void {
    this.#postponedUntil = 0;
  }

  /** That it could not be opened was no fault of its source: the supervisor takes no note of it. */
  postpone({ retryAfterMs = BUSY_RETRY_MS }: { readonly retryAfterMs?: number | undefined }): void {
    this.#postponedUntil = performance.now() + retryAfterMs;
  }

  #verdict(): ListVerdict {
    const verdict = this.#gates();
    const leftMs = this.#postponedUntil - performance.now();
    if (!verdict.allowed || leftMs <= 0) return verdict;
    return { allowed: false, why: 'busy', retryAfterMs: leftMs };
  }
}
