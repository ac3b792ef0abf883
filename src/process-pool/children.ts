import type { PooledChild } from './lease.ts';

/** The children that hold a slot, each until nothing of it is left. */
export class Children {
  readonly #all = new Set<PooledChild>();
  /** Those that could not be ended. */
  readonly #stuck = new Set<PooledChild>();
  readonly #failed: (error: unknown) => void;

  /** @param failed told why one could not be ended */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  get stuck(): number {
    return this.#stuck.size;
  }

  has(child: PooledChild): boolean {
    return this.#all.has(child);
  }

  /** @param gone called once, when nothing of it is left */
  add(child: PooledChild, gone: () => void): void {
    const remove = () => {
      this.#all.delete(child);
      this.#stuck.delete(child);
      gone();
    };
    this.#all.add(child);
    child.closed.then(remove, remove);
  }

  couldNotEnd(child: PooledChild, error: unknown): void {
    if (this.has(child)) this.#stuck.add(child);
    this.#failed(error);
  }

  async end(child: PooledChild): Promise<void> {
    try {
      await child[Symbol.asyncDispose]();
    } catch (error) {
      this.couldNotEnd(child, error);
    }
  }

  /** Has each of them ended, those that could not be ended before as well. */
  endAll(end: (child: PooledChild) => void): void {
    this.#stuck.clear();
    for (const child of this.#all) end(child);
  }
}
