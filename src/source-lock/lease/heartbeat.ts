import type { Stats } from 'node:fs';
import { stat, utimes } from 'node:fs/promises';
import { now } from '../../internal/time.ts';
import type { Entry, HeldEntry } from './entry.ts';
import type { LeaseDirectory } from './lease-directory.ts';
import { type LeaseTerm, STALE_MS } from './lease-term.ts';

const UPDATE_MS = 2_500;

/** Node's style of answer, which proper-lockfile expects of a file system. */
type Answer<T> = (error: unknown, value?: T) => void;

/**
 * Claims an entry and renews it. `proper-lockfile` keeps the rhythm and notices a loss, on a file system of ours: making
 * its lock file is claiming the entry, removing it is freeing the entry. So its own way to break a stale lock (by the wall
 * clock, remove and make again) is never taken.
 */
export class Heartbeat {
  readonly #directory: LeaseDirectory;
  readonly #entry: HeldEntry;
  readonly #term: LeaseTerm;
  #stop: (() => Promise<void>) | undefined;

  constructor(directory: LeaseDirectory, entry: HeldEntry, term: LeaseTerm) {
    this.#directory = directory;
    this.#entry = entry;
    this.#term = term;
  }

  /**
   * Claims the entry that was seen; false if another was faster. If it rejects, nothing is held.
   *
   * @param onExit when this process ends by itself, or by a signal that nobody handles
   */
  async start(from: Entry, onExit: () => void): Promise<boolean> {
    const { lock } = await import('proper-lockfile');
    const beat = this.#directory.beat(this.#entry);
    try {
      this.#stop = await lock(beat, {
        lockfilePath: beat,
        realpath: false,
        retries: 0,
        stale: STALE_MS,
        update: UPDATE_MS,
        fs: this.#fileSystem(from, onExit),
        onCompromised: () => this.#term.lose('it was claimed by another, or removed or changed'),
      });
      return true;
    } catch (error) {
      if (isCode(error, 'ELOCKED')) return false;
      await this.#directory.free(this.#entry).catch(() => {}); // it would fail for the same reason
      throw error;
    }
  }

  /** Ends it and frees the entry, if that is still there. */
  async end(): Promise<void> {
    try {
      await this.#stop?.();
    } catch (error) {
      if (!isCode(error, 'ERELEASED')) throw error;
      await this.#directory.free(this.#entry); // it had stopped by itself when the lock was lost
    }
  }

  #fileSystem(from: Entry, onExit: () => void) {
    return {
      mkdir: (_: string, answer: Answer<void>) => settle(this.#claim(from), answer),
      stat: (_: string, answer: Answer<Stats>) => settle(this.#look(), answer),
      utimes: (_: string, _atime: Date, mtime: Date, answer: Answer<void>) => settle(this.#renew(mtime), answer),
      rmdir: (_: string, answer: Answer<void>) => settle(this.#directory.free(this.#entry), answer),
      rmdirSync: onExit,
    };
  }

  async #claim(from: Entry): Promise<void> {
    if (await this.#directory.claim(from, this.#entry)) return;
    throw Object.assign(new Error('another was faster'), { code: 'ELOCKED' });
  }

  /** After any other error proper-lockfile goes on, and fails to if it was stopped meanwhile. */
  async #look(): Promise<Stats> {
    try {
      const isOurs = !this.#term.isOver() && (await this.#directory.read())?.token === this.#entry.token;
      if (isOurs) return await stat(this.#directory.beat(this.#entry));
    } catch (error) {
      if (!this.#term.isOver()) throw error;
    }
    throw gone();
  }

  /** A holder that is late may be followed by another any moment, and sends nothing more. */
  async #renew(mtime: Date): Promise<void> {
    if (this.#term.isOver()) throw gone();
    const sentMs = now();
    await utimes(this.#directory.beat(this.#entry), mtime, mtime);
    this.#term.renew(sentMs);
  }
}

function settle<T>(result: Promise<T>, answer: Answer<T>): void {
  result.then((value) => answer(null, value), answer);
}

/** What makes proper-lockfile stop at once. */
function gone(): Error {
  return Object.assign(new Error('the lease is over'), { code: 'ENOENT' });
}

function isCode(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException).code === code;
}
