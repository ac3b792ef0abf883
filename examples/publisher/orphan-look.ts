import { ManagedChild, type Orphan } from 'holdfast';

/** A look reads the whole of /proc; orphans are no matter of seconds. */
const AGE_MS = 10_000;

/** What dead owners left on this host, looked at once in 10 s however many ask; none of it is touched. */
export class OrphanLook {
  #found: Promise<readonly Orphan[]> | undefined;
  #at = Number.NEGATIVE_INFINITY;
  readonly #look: () => Promise<readonly Orphan[]>;

  constructor(look: () => Promise<readonly Orphan[]> = () => ManagedChild.sweepOrphans()) {
    this.#look = look;
  }

  find(): Promise<readonly Orphan[]> {
    if (this.#found && performance.now() - this.#at < AGE_MS) return this.#found;
    this.#at = performance.now();
    this.#found = this.#look();
    return this.#found;
  }
}
