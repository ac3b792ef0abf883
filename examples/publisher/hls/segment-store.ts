import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';

/** A segment, wherever it is. */
export interface StoredSegment {
  readonly byteLength: number;
  /** Undefined if it is gone. */
  read(): Promise<Buffer | undefined>;
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
      read: async () => kept,
      remove: () => {
        kept = undefined;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

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
    let isRemoved = false;
    const written = this.#write(path, bytes).then(async (isWritten) => {
      if (isWritten) memory = undefined;
      if (isRemoved) await rm(path, { force: true });
    });
    this.#writing.add(written);
    void written.finally(() => this.#writing.delete(written));
    return {
      byteLength: bytes.length,
      read: async () => (isRemoved ? undefined : (memory ?? (await readFile(path).catch(() => undefined)))),
      remove: () => {
        isRemoved = true;
        if (memory === undefined) void rm(path, { force: true }).catch(() => {});
        memory = undefined;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#writing);
    rmSync(this.path, { recursive: true, force: true });
  }

  async #write(path: string, bytes: Buffer): Promise<boolean> {
    const part = `${path}.part`;
    try {
      await writeFile(part, bytes, { mode: 0o600 });
      await rename(part, path);
      if (this.#isFailing) this.#log.info(`segments of HLS are written to ${this.path} again`);
      this.#isFailing = false;
      return true;
    } catch (error) {
      await rm(part, { force: true }).catch(() => {});
      if (!this.#isFailing) this.#log.warn(`${(error as Error).message}; segments of HLS stay in memory (hlsRing)`);
      this.#isFailing = true;
      return false;
    }
  }
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
