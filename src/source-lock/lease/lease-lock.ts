import { dirname } from 'node:path';
import { LockLostError } from '../../errors.ts';
import type { Lease } from '../../internal/hold.ts';
import type { ProcessIdentity } from '../../internal/proc.ts';
import { now } from '../../internal/time.ts';
import type { LockPlace, TakenLock, Tenure } from '../backend.ts';
import { inDirectory } from '../directory-error.ts';
import { deathOf } from '../holder.ts';
import { newSidecar, readSidecar, removeSidecar, type Sidecar, writeSidecar } from '../sidecar.ts';
import { type Entry, type HeldEntry, nextTenure } from './entry.ts';
import { Heartbeat } from './heartbeat.ts';
import { LeaseDirectory } from './lease-directory.ts';
import { LeaseTerm } from './lease-term.ts';

/** A lease that this process has. */
export class LeaseLock implements TakenLock {
  readonly key: string;
  readonly path: string;
  readonly #directory: LeaseDirectory;
  readonly #entry: HeldEntry;
  readonly #term: LeaseTerm;
  readonly #heartbeat: Heartbeat;
  #meta: Sidecar | undefined;
  #isShared = false;

  /** Claims the lock from the entry that was seen; undefined if another was faster. */
  static async claim(place: LockPlace, from: Entry): Promise<LeaseLock | undefined> {
    const claimed = new LeaseLock(place, nextTenure(from));
    const isOurs = await claimed.#start(from);
    if (isOurs && !claimed.#term.isOver()) return claimed;
    if (isOurs) await claimed.release();
    return undefined;
  }

  private constructor({ key, path }: LockPlace, entry: HeldEntry) {
    this.key = key;
    this.path = path;
    this.#entry = entry;
    this.#directory = new LeaseDirectory(path);
    this.#term = new LeaseTerm(now(), (why) => new LockLostError(key, path, why));
    this.#heartbeat = new Heartbeat(this.#directory, entry, this.#term);
  }

  get lost(): AbortSignal {
    return this.#term.signal;
  }

  get lease(): Lease {
    return this.#term;
  }

  async begin(command: string): Promise<Tenure> {
    this.#term.throwIfLost();
    // Who lets go removes its sidecar: whoever wrote the one that is still there did not.
    const death = deathOf(this, readSidecar(this.path));
    const { fence, token } = this.#entry;
    this.#explain({ ...newSidecar({ key: this.key, fence: String(fence), cmd: command }), token });
    return { fence, ...death };
  }

  /** No descriptor can carry a lease. */
  share(): readonly number[] {
    this.#isShared = true;
    return [];
  }

  recordChildren(children: readonly ProcessIdentity[]): void {
    if (!this.#meta || !this.#isSidecarOurs()) return;
    this.#explain({ ...this.#meta, children });
  }

  /** What was lost is freed by the name that it had for us: if another has it by now, there is nothing of that name. */
  async release(): Promise<void> {
    const isLost = this.#term.isOver();
    this.#term.release();
    try {
      if (!isLost) this.#tidy();
    } finally {
      await this.#heartbeat.end().catch((error) => {
        if (!isLost) throw inDirectory(dirname(this.path), error);
      });
    }
  }

  async #start(from: Entry): Promise<boolean> {
    let isOurs = false;
    try {
      isOurs = await this.#heartbeat.start(from, () => this.#freeAtExit());
    } catch (error) {
      // Whoever hung for so long finds the entry claimed by another, half-way in its own claim.
      if (!this.#term.isOver()) throw inDirectory(dirname(this.path), error);
    } finally {
      if (!isOurs) this.#term.release();
    }
    return isOurs;
  }

  /** Children that have the lock too outlive this process, if only for a moment: until they are gone it is not free. */
  #freeAtExit(): void {
    if (this.#isShared) return;
    try {
      this.#tidy();
    } finally {
      this.#directory.freeSync(this.#entry);
    }
  }

  #tidy(): void {
    if (this.#isSidecarOurs()) removeSidecar(this.path);
  }

  #isSidecarOurs(): boolean {
    return readSidecar(this.path)?.token === this.#entry.token;
  }

  #explain(meta: Sidecar): void {
    try {
      writeSidecar(this.path, meta);
      this.#meta = meta;
    } catch (error) {
      throw inDirectory(dirname(this.path), error);
    }
  }
}
