import type { Lease } from 'holdfast';
import { hostNow } from '../../src/internal/time.ts';

/** A lease that its test renews. */
export class ManualLease implements Lease {
  deadline: number;
  readonly #abort = new AbortController();
  readonly #listeners = new Set<(deadline: number) => void>();

  constructor(ms: number) {
    this.deadline = performance.now() + ms;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Its deadline by {@link hostNow}; `performance.timeOrigin`, by which it could be told too, is of a clock that may be set. */
  get hostDeadline(): number {
    return this.deadline + hostNow() - performance.now();
  }

  /** How many listen for renewals. */
  get listeners(): number {
    return this.#listeners.size;
  }

  onRenew(listener: (deadline: number) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  renew(ms: number): void {
    this.deadline = performance.now() + ms;
    for (const listener of this.#listeners) listener(this.deadline);
  }

  lose(reason: Error): void {
    this.#abort.abort(reason);
  }
}
