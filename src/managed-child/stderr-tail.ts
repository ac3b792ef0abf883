import type { Readable } from 'node:stream';
import { redactCredentials } from '../internal/redact.ts';

const KEEP_BYTES = 16 * 1024;

/** The last 16 KiB of what a child writes to stderr, credentials removed. */
export class StderrTail {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #isCut = false;
  #text: string | undefined = '';

  constructor(stderr: Readable | null) {
    stderr?.on('data', (chunk: Buffer) => this.#push(chunk));
  }

  toString(): string {
    this.#text ??= this.#read();
    return this.#text;
  }

  /** What was cut may begin within a URL, behind its user and before its password: it starts with the next line. */
  #read(): string {
    const kept = Buffer.concat(this.#chunks).subarray(-KEEP_BYTES);
    const isCut = this.#isCut || kept.length < this.#bytes;
    return redactCredentials(kept.toString('utf8', isCut ? kept.indexOf('\n') + 1 : 0));
  }

  #push(chunk: Buffer): void {
    this.#text = undefined;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes - (this.#chunks[0]?.length ?? 0) >= KEEP_BYTES) {
      this.#bytes -= this.#chunks.shift()?.length ?? 0;
      this.#isCut = true;
    }
  }
}
