import type { LockHolder } from '../errors.ts';
import { AdoptedLock, inheritedLock } from './adoption.ts';
import type { InspectContext, LockBackend, LockPlace, Patience, TakenLock } from './backend.ts';
import { holdersOf } from './holder.ts';
import type { KernelLock, LockKind } from './kernel-lock.ts';
import { LockFile } from './lock-file.ts';

/** Locks of this host: the kernel keeps them, on files. */
export class FileBackend implements LockBackend {
  readonly usesDirectory = true;
  readonly #kernel: KernelLock;

  constructor(kernel: KernelLock) {
    this.#kernel = kernel;
  }

  get name(): LockKind {
    return this.#kernel.name;
  }

  async take(place: LockPlace, patience?: Patience): Promise<TakenLock | undefined> {
    const inherited = inheritedLock(place);
    if (inherited !== undefined) return AdoptedLock.take(this.#kernel, place, inherited, patience);
    return LockFile.take(this.#kernel, place, patience);
  }

  async inspect(places: readonly LockPlace[], context?: InspectContext): Promise<LockHolder[]> {
    return holdersOf(places, this.name, context);
  }
}
