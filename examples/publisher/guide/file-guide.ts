import { constants, type ReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
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
  /** Each look that the system does not answer, as at a host that is down, holds one of its few threads: one at a time. */
  #isBusy = false;

  constructor(path: string) {
    this.#path = /^file:/i.test(path) ? fileURLToPath(path) : resolve(path);
    this.name = this.#path;
    this.key = `file:${this.#path}`;
  }

  async pull({ etag }: Validators, signal: AbortSignal): Promise<Pulled | undefined> {
    if (this.#isBusy) throw new GuideError('the system has not answered to the last look at it yet');
    this.#isBusy = true;
    const idle = () => {
      this.#isBusy = false;
    };
    try {
      const pulled = await this.#look(etag, signal);
      if (pulled) pulled.bytes.once('close', idle);
      else idle();
      return pulled;
    } catch (error) {
      idle();
      throw error;
    }
  }

  nextPullMs(): number {
    return LOOK_EVERY_MS;
  }

  async #look(etag: string | undefined, signal: AbortSignal): Promise<{ bytes: ReadStream; etag: string } | undefined> {
    const file = await this.#open();
    try {
      const about = await file.stat();
      signal.throwIfAborted();
      const { mtimeMs, size, ino } = about;
      if (!about.isFile()) throw new GuideError('it is no file that has an end');
      const seen = `${ino} ${size} ${mtimeMs}`;
      if (seen !== etag) return { bytes: file.createReadStream(), etag: seen };
      await file.close();
      return undefined;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Without waiting for who would write to a pipe. */
  async #open(): Promise<FileHandle> {
    try {
      return await open(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new GuideError(code === 'ENOENT' ? 'it does not exist (ENOENT)' : `it can't be read: ${code ?? message}`);
    }
  }
}
