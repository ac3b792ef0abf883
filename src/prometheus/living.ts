/**
 * The instances that were made and are neither closed nor collected, with what has to be known of each when it is gone: to be
 * seen must not keep one.
 */
export class Living<T extends object, R = undefined> {
  readonly #records = new Map<WeakRef<T>, R>();
  readonly #references = new WeakMap<T, WeakRef<T>>();
  readonly #collected = new FinalizationRegistry<WeakRef<T>>((reference) => this.#remove(reference));
  readonly #gone: (record: R) => void;

  /** @param gone called once with the record of each that was closed or collected */
  constructor(gone: (record: R) => void = () => {}) {
    this.#gone = gone;
  }

  add(instance: T, record: R): void {
    const reference = new WeakRef(instance);
    this.#records.set(reference, record);
    this.#references.set(instance, reference);
    this.#collected.register(instance, reference);
  }

  delete(instance: T): void {
    const reference = this.#references.get(instance);
    if (reference) this.#remove(reference);
  }

  /** Undefined of one that was made before anybody looked. */
  recordOf(instance: T): R | undefined {
    const reference = this.#references.get(instance);
    return reference && this.#records.get(reference);
  }

  records(): Iterable<R> {
    return this.#records.values();
  }

  *[Symbol.iterator](): Generator<T> {
    for (const reference of this.#records.keys()) {
      const instance = reference.deref();
      if (instance) yield instance;
    }
  }

  #remove(reference: WeakRef<T>): void {
    const record = this.#records.get(reference) as R;
    if (this.#records.delete(reference)) this.#gone(record);
  }
}
