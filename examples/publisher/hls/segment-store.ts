import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Logger } from '../log.ts';

/** A segment, wherever it is. */
export interface StoredSegment {
  readonly byteLength: number;
  /** All of it, or what gives it piece by piece; undefined if it is gone. */
  open(): Promise<Buffer | Readable | undefined>;
  remove(): void;
}

/** Where segments are kept. */
export interface SegmentStore extends AsyncDisposable {
  put(bytes: Buffer): StoredSegment;
}

export class MemoryStore implements SegmentStore {
  put(bytes: Buffer): StoredSegment {
    let kept: Buffer | undefined = bytes;
    return {
      byteLength: bytes.length,
      open: async () => kept,
      remove: () => {
        kept = undefined;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** So many segments wait for the disk at most; more stay in memory. */
const MAX_WRITES = 16;
const END_MS = 2_000;

/** A folder of an instance is named by its process, so that the next one knows what nobody will remove any more. */
const INSTANCE = /^(\d+)-[0-9a-z]+$/;

/**
 * Keeps segments in a folder of this process alone, which is gone with it; what others left behind is removed at the start.
 * A segment is there whole or not at all. One that can't be written, as on a full disk, stays in memory.
 */
export class DiskStore implements SegmentStore {
  readonly path: string;
  readonly #log: Logger;
  readonly #writing = new Set<Promise<void>>();
  #count = 0;
  #isFailing = false;

  /** @throws the system's error if nothing can be written there. */
  constructor(folder: string, log: Logger) {
    this.#log = log;
    removeLeftovers(folder);
    this.path = join(folder, `${process.pid}-${Date.now().toString(36)}`);
    mkdirSync(this.path, { recursive: true, mode: 0o700 });
  }

  put(bytes: Buffer): StoredSegment {
    const path = join(this.path, `${this.#count++}.ts`);
    let memory: Buffer | undefined = bytes;
    const removal = new AbortController();
    const { signal } = removal;
    this.#keep(this.#write(path, bytes, signal), (isWritten) => {
      if (isWritten) memory = undefined;
      if (signal.aborted) forget(path);
    });
    return {
      byteLength: bytes.length,
      open: async () => (signal.aborted ? undefined : (memory ?? (await readable(path)))),
      remove: () => {
        removal.abort();
        if (memory === undefined) forget(path);
        memory = undefined;
      },
    };
  }

  /** A disk that hangs is not waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, END_MS);
    await Promise.race([Promise.all(this.#writing), late.promise]);
    clearTimeout(timer);
    await rm(this.path, { recursive: true, force: true });
  }

  #keep(writing: Promise<boolean>, then: (isWritten: boolean) => void): void {
    const written = writing.then(then).finally(() => this.#writing.delete(written));
    this.#writing.add(written);
  }

  /** Whether it is there; never rejects. One that is removed meanwhile is given up, as is one that too many are before. */
  async #write(path: string, bytes: Buffer, signal: AbortSignal): Promise<boolean> {
    const part = `${path}.part`;
    try {
      if (this.#writing.size >= MAX_WRITES) throw new Error(`the disk of ${this.path} is too slow`);
      await writeFile(part, bytes, { mode: 0o600, signal });
      await rename(part, path);
      if (this.#isFailing) this.#log.info(`segments of HLS are written to ${this.path} again`);
      this.#isFailing = false;
      return true;
    } catch (error) {
      forget(part);
      if (signal.aborted) return false;
      if (!this.#isFailing) this.#log.warn(`${(error as Error).message}; segments of HLS stay in memory (hlsRing)`);
      this.#isFailing = true;
      return false;
    }
  }
}

/** What was opened can be read to its end, even if it is removed meanwhile. */
async function readable(path: string): Promise<Readable | undefined> {
  const file = await open(path).catch(() => undefined);
  return file?.createReadStream();
}

/** What can't be removed now is with the folder, or by the next process. */
function forget(path: string): void {
  rm(path, { force: true }).catch(() => {});
}

function removeLeftovers(folder: string): void {
  for (const name of namesIn(folder)) {
    const pid = Number(INSTANCE.exec(name)?.[1]);
    if (Number.isNaN(pid) || (pid !== process.pid && isAlive(pid))) continue;
    rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
