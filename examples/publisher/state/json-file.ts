import { readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../log.ts';

/**
 * A value that outlives a restart, as JSON in one file: after a crash at any moment it holds what it held before or what
 * was written, never a part of it. Nothing that goes wrong with it ends the program; the log tells.
 */
export class JsonFile<T> {
  readonly path: string;
  readonly #schema: z.ZodType<T>;
  readonly #log: Logger;
  /** The value that is to be written next; of several only the last counts. */
  #next: { readonly value: T } | undefined;
  #writing: Promise<void> | undefined;
  #hasFailed = false;
  /** It may be good, and is not written over. */
  #isUnread = false;

  constructor(path: string, schema: z.ZodType<T>, log: Logger) {
    this.path = path;
    this.#schema = schema;
    this.#log = log;
  }

  /**
   * What was written last; undefined if there is nothing, or nothing that can be understood, which is set aside. One that
   * can't be read now is left as it is, and nothing is written.
   */
  read(): T | undefined {
    try {
      return this.readStrictly();
    } catch (error) {
      this.#isUnread = true;
      this.#log.warn(
        { file: this.path },
        `${(error as Error).message}; it stays as it is, and what is new is not kept`,
      );
      return undefined;
    }
  }

  /** @throws Error that names the file if there is one that can't be read now, as for want of a permission. */
  readStrictly(): T | undefined {
    sweepTemporary(this.path);
    const content = this.#content();
    try {
      return content === undefined ? undefined : this.#schema.parse(JSON.parse(content));
    } catch (error) {
      this.#unusable(error);
      return undefined;
    }
  }

  /** Resolves when this value, or one that was given later, is on the disk or could not be put there. Never rejects. */
  write(value: T): Promise<void> {
    if (this.#isUnread) return Promise.resolve();
    this.#next = { value };
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  /** Resolves when nothing is left to be written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#next) {
      const { value } = this.#next;
      this.#next = undefined;
      await this.#replace(`${JSON.stringify(value)}\n`);
    }
  }

  async #replace(content: string): Promise<void> {
    try {
      await replaceFile(this.path, content);
      if (this.#hasFailed) this.#log.info({ file: this.path }, `${this.path} can be written again`);
      this.#hasFailed = false;
    } catch (error) {
      if (this.#hasFailed) return;
      this.#hasFailed = true;
      const advice = 'it would be missing after a restart; see --state-dir';
      this.#log.warn({ file: this.path }, `${this.path} can't be written: ${(error as Error).message}; ${advice}`);
    }
  }

  #content(): string | undefined {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      throw new Error(`${this.path} can't be read: ${message}`, { cause: error });
    }
  }

  #unusable(error: unknown): void {
    const why = error instanceof z.ZodError ? z.prettifyError(error).replaceAll('\n', ' ') : (error as Error).message;
    this.#log.warn({ file: this.path }, `${this.path} can't be used: ${why.slice(0, 300)}; ${this.#setAside()}`);
  }

  /** For whoever wants to know what it was; it is not in the way of the next. */
  #setAside(): string {
    const aside = `${this.path}.broken`;
    try {
      renameSync(this.path, aside);
      return `it is now ${basename(aside)}`;
    } catch (error) {
      return `it stays as it is: ${(error as Error).message}`;
    }
  }
}

/** Removes what writers of a file left that died while they wrote. */
export function sweepTemporary(path: string): void {
  try {
    const prefix = `${basename(path)}.`;
    for (const name of readdirSync(dirname(path))) {
      const pid = name.startsWith(prefix) ? /^(\d+)\.tmp$/.exec(name.slice(prefix.length))?.[1] : undefined;
      if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(dirname(path), name), { force: true });
    }
  } catch {
    // There is no directory, or it can't be written: nothing that a reader needs.
  }
}

/** Puts content in the place of a file, which others see whole: the old one or the new one. Only its owner may read it. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeDurably(temporary, content);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  await syncDirectory(dirname(path));
}

async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  await using file = await open(path, 'w', 0o600);
  await file.writeFile(content);
  await file.sync();
}

/** The new name is durable only when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
