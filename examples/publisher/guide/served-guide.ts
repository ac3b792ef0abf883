import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Logger } from '../log.ts';
import { replaceFile } from '../state/json-file.ts';

/** What is served. */
export interface GuideDocument {
  readonly gzip: Buffer;
  readonly hash: string;
  readonly changedAt: Date;
}

/** The document that is served, in memory and on the disk. */
export class ServedGuide {
  readonly path: string;
  readonly #log: Logger;
  #document: GuideDocument | undefined;

  constructor(path: string, log: Logger) {
    this.path = path;
    this.#log = log;
  }

  get document(): GuideDocument | undefined {
    return this.#document;
  }

  /** What was kept of the run before, if there was one. */
  async read(): Promise<void> {
    try {
      this.#document = documentOf(await readFile(this.path), (await stat(this.path)).mtime);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') this.#log.warn(`${this.path} can't be read: ${message}; it is made anew`);
    }
  }

  /** Resolves, when it is kept, to whether it is another than before. */
  async replace(gzip: Buffer): Promise<boolean> {
    const document = documentOf(gzip, new Date());
    if (document.hash === this.#document?.hash) return false;
    this.#document = document;
    try {
      await replaceFile(this.path, gzip);
    } catch (error) {
      const advice = 'it would be missing after a restart; see --state-dir';
      this.#log.warn(`${this.path} can't be written: ${(error as Error).message}; ${advice}`);
    }
    return true;
  }
}

function documentOf(gzip: Buffer, changedAt: Date): GuideDocument {
  return { gzip, hash: createHash('sha256').update(gzip).digest('hex').slice(0, 32), changedAt };
}
