import { randomUUID } from 'node:crypto';
import { constants, type Dirent, renameSync, rmdirSync } from 'node:fs';
import { chmod, lstat, mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LockDirectoryError } from '../../errors.ts';
import { sleep } from '../../internal/time.ts';
import { type Entry, entryName, type HeldEntry, parseEntry } from './entry.ts';

/** How often a directory that looks strange is read again, and how soon: a reader may meet both names of a renaming. */
const READINGS = 20;
const READ_AGAIN_MS = 5;

/**
 * `<lock>.lease`, which has exactly one entry, `free.<fence>` or `held.<fence>.<token>`. The lock changes hands by renaming
 * the entry from the exact name it has: the file server lets one contender do it and tells the others that there is no such
 * name. Nothing is ever removed and made again, so there is no moment in between.
 *
 * In a held entry its holder keeps a directory named by the token, whose modification time is the heartbeat. It is not the
 * entry's own time: of what another user made, a member of the group may change the name, but not the times.
 *
 * A file server answers from the client's memory to who merely asks (NFS: up to a minute). Opening a directory makes the
 * client ask anew, so whatever decides is read from one just opened.
 */
export class LeaseDirectory {
  readonly path: string;

  constructor(lockPath: string) {
    this.path = `${lockPath}.lease`;
  }

  /** The entry there is; undefined if there is none, or no directory. */
  async read(): Promise<Entry | undefined> {
    for (let readings = 1; ; readings++) {
      const found = await this.#list();
      const [first] = found ?? [];
      const entry = found?.length === 1 && first?.isDirectory() ? parseEntry(first.name) : undefined;
      if (!found || entry) return entry;
      if (readings < READINGS) await sleep(READ_AGAIN_MS);
      else if (!first) return undefined;
      else throw this.#strange(`has ${found.map(({ name }) => name).join(', ')} in it`);
    }
  }

  /** The entry there is; with this first one the directory is made where it is missing. */
  async readOrMake(first: () => Entry): Promise<Entry> {
    for (let tries = 1; tries < READINGS; tries++) {
      const entry = await this.read();
      if (entry) return entry;
      await this.#make(first());
    }
    throw this.#strange('vanishes whenever it was made');
  }

  /** The directory appears whole, also in place of one that was emptied, and never in place of a whole one. */
  async #make(entry: Entry): Promise<void> {
    const temporary = `${this.path}.${randomUUID()}`;
    try {
      await makeShared(temporary);
      await makeShared(join(temporary, entryName(entry)));
      // ENOENT: a request that had to be repeated was carried out at first.
      await rename(temporary, this.path).catch(unless('EEXIST', 'ENOTEMPTY', 'ENOTDIR', 'ENOENT'));
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  /** Claims the entry `from` for the tenure `to`; false if another was faster. */
  async claim(from: Entry, to: HeldEntry): Promise<boolean> {
    try {
      await rename(this.#pathOf(from), this.#pathOf(to));
    } catch (error) {
      unless('ENOENT')(error);
      // A request that had to be repeated may have been carried out at first.
      if ((await this.read())?.token !== to.token) return false;
    }
    await makeShared(this.beat(to));
    await this.#clear(to);
    return true;
  }

  /** What the holder renews. Its path is of the tenure alone: who lost the lock finds nothing there. */
  beat(entry: HeldEntry): string {
    return join(this.#pathOf(entry), entry.token);
  }

  /** When the holder renewed last, by its own clock; undefined if it has not begun to. */
  async lastBeat(entry: HeldEntry): Promise<number | undefined> {
    try {
      const beat = await open(this.beat(entry), constants.O_RDONLY | constants.O_DIRECTORY);
      return (await beat.stat().finally(() => beat.close())).mtimeMs;
    } catch (error) {
      unless('ENOENT', 'ESTALE')(error);
      return undefined;
    }
  }

  /** Frees the lock if the tenure still has it. */
  async free(entry: HeldEntry): Promise<void> {
    await rmdir(this.beat(entry)).catch(() => {}); // else the next holder does
    await rename(this.#pathOf(entry), this.#pathOf({ fence: entry.fence })).catch(unless('ENOENT'));
  }

  /** {@link free} for a process that is about to end, as far as it succeeds. */
  freeSync(entry: HeldEntry): void {
    try {
      rmdirSync(this.beat(entry));
    } finally {
      renameSync(this.#pathOf(entry), this.#pathOf({ fence: entry.fence }));
    }
  }

  /** Removes the heartbeats of those who did not free the lock; one that stays does no harm. */
  async #clear(entry: HeldEntry): Promise<void> {
    const folder = this.#pathOf(entry);
    const others = (await readdir(folder)).filter((name) => name !== entry.token);
    await Promise.all(others.map((name) => rmdir(join(folder, name)).catch(() => {})));
  }

  #pathOf(entry: Entry): string {
    return join(this.path, entryName(entry));
  }

  /** Undefined if the directory is not there. */
  async #list(): Promise<Dirent[] | undefined> {
    try {
      // Through a link two processes could come to two directories.
      if (!(await lstat(this.path)).isDirectory()) throw this.#strange('is not a directory');
      return await readdir(this.path, { withFileTypes: true });
    } catch (error) {
      unless('ENOENT')(error);
      return undefined;
    }
  }

  #strange(what: string): LockDirectoryError {
    const advice = 'move it away when nobody uses the source, or choose another directory for the locks';
    return new LockDirectoryError(this.path, `${this.path} is no lease: it ${what}; ${advice}`);
  }
}

/** The group shares the locks, whatever the umask says. What is there is ours, by a request that had to be repeated. */
async function makeShared(path: string): Promise<void> {
  await mkdir(path).catch(unless('EEXIST'));
  await chmod(path, 0o770);
}

/** Handles errors of these codes by doing nothing. */
function unless(...codes: string[]): (error: unknown) => void {
  return (error) => {
    if (!codes.includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  };
}
