import { dirname } from 'node:path';
import type { LockHolder } from '../../errors.ts';
import { now, sleep } from '../../internal/time.ts';
import type { LockBackend, LockPlace, Patience, TakenLock } from '../backend.ts';
import { inDirectory } from '../directory-error.ts';
import { readSidecar } from '../sidecar.ts';
import { forget, holderOf, isAbandoned } from './abandoned.ts';
import { type Entry, isHeld, parseEntry } from './entry.ts';
import { LeaseDirectory } from './lease-directory.ts';
import { LeaseLock } from './lease-lock.ts';

/** Pause between tries of one that waits; up to a fifth more, lest all come at once. */
const RETRY_MS = 250;

/**
 * Locks for directories on a network file system, which all hosts see but whose kernel locks may be each host's own.
 *
 * A holder renews its lease every 2.5 s. One that is silent for 10 s may be followed by another; one that died is followed
 * at once from its own host, after 10 s from any other. Each process measures silence by its own monotonic clock, from what
 * it saw itself: the clocks of the hosts may differ and may be set. So a process that tries once and ends never follows the
 * dead of another host: let it wait, `timeoutMs` more than 10 s.
 *
 * What it can not promise: exclusion in the strict sense. A holder that is stopped for longer than its lease (SIGSTOP, a
 * paused virtual machine, a file server that hangs) and then goes on where it was overlaps with the next. Its signal
 * aborts as soon as it runs, and its lease ends a second before anybody may follow; what must not overlap is guarded by
 * these: end at `lock.signal`, start the child with `holds` (it is ended when the lock is lost), let the target refuse a
 * writer whose `lock.fence` is less than one it has seen.
 *
 * The file system has to rename a directory in one step and show a change to a client that opens the directory anew. NFS
 * does, but not mounted with `nocto`; sshfs does not.
 */
export async function leaseBackend(): Promise<LockBackend> {
  return new LeaseBackend();
}

class LeaseBackend implements LockBackend {
  readonly name = 'lease';
  readonly usesDirectory = true;

  async take(place: LockPlace, patience?: Patience): Promise<TakenLock | undefined> {
    for (;;) {
      patience?.signal?.throwIfAborted();
      const taken = await this.#tryOnce(place);
      if (taken && patience?.signal?.aborted) await taken.release();
      else if (taken || !patience || now() >= patience.deadline) return taken;
      const pauseMs = RETRY_MS * (1 + Math.random() / 5);
      await sleep(Math.min(pauseMs, Math.max(patience.deadline - now(), 0)), patience.signal);
    }
  }

  async inspect(places: readonly LockPlace[]): Promise<LockHolder[]> {
    const holders = await Promise.all(places.map((place) => this.#holderAt(place)));
    return holders.filter((holder) => holder !== undefined);
  }

  async #holderAt(place: LockPlace): Promise<LockHolder | undefined> {
    try {
      const directory = new LeaseDirectory(place.path);
      const entry = await directory.read();
      if (!entry || !isHeld(entry) || (await isAbandoned(place.path, entry, directory))) return undefined;
      return holderOf(place, entry);
    } catch (error) {
      throw inDirectory(dirname(place.path), error);
    }
  }

  async #tryOnce(place: LockPlace): Promise<TakenLock | undefined> {
    try {
      const directory = new LeaseDirectory(place.path);
      const entry = await directory.readOrMake(() => firstEntry(place.path));
      if (isHeld(entry) && !(await isAbandoned(place.path, entry, directory))) return undefined;
      forget(place.path);
      return await LeaseLock.claim(place, entry);
    } catch (error) {
      throw inDirectory(dirname(place.path), error);
    }
  }
}

/** A lease directory that was removed may have a holder that does not know yet, whose sidecar tells. */
function firstEntry(path: string): Entry {
  const meta = readSidecar(path);
  return parseEntry(`held.${meta?.fence}.${meta?.token}`) ?? { fence: 0n };
}
