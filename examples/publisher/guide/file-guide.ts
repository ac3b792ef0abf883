import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GuideError } from './errors.ts';
import type { GuideSource, Pulled, Validators } from './guide-source.ts';

const LOOK_EVERY_MS = 2_000;

/** An XMLTV document in a file, packed or not. It is looked at every two seconds, and read when it has changed. */
export class FileGuide implements GuideSource {
  readonly name: string;
  readonly key: string;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path.startsWith('file:') ? fileURLToPath(path) : resolve(path);
    this.name = this.#path;
    this.key = `file:${this.#path}`;
  }

  async pull({ etag }: Validators, signal: AbortSignal): Promise<Pulled | undefined> {
    const file = await this.#open();
    try {
      const { mtimeMs, size, ino } = await file.stat();
      const seen = `${ino} ${size} ${mtimeMs}`;
      if (seen !== etag) return { bytes: file.createReadStream({ signal }), etag: seen };
      await file.close();
      return undefined;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  nextPullMs(): number {
    return LOOK_EVERY_MS;
  }

  async #open() {
    try {
      return await open(this.#path);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new GuideError(code === 'ENOENT' ? 'it does not exist (ENOENT)' : `it can't be read: ${code ?? message}`);
    }
  }
}
