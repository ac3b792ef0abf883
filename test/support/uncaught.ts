/** Collects uncaught exceptions instead of the test runner, which would fail the run for them. */
export class Uncaught implements Disposable {
  readonly errors: unknown[] = [];
  readonly #others = process.listeners('uncaughtException');
  readonly #collect = (error: unknown) => void this.errors.push(error);

  constructor() {
    process.removeAllListeners('uncaughtException').on('uncaughtException', this.#collect);
  }

  [Symbol.dispose](): void {
    process.off('uncaughtException', this.#collect);
    for (const other of this.#others) process.on('uncaughtException', other);
  }
}
