import type { Readable } from 'node:stream';
import { redactCredentials } from '../internal/redact.ts';

const KEEP_BYTES = 16 * 1024;

/** The last 16 KiB of what a child writes to stderr, credentials removed. */
export class StderrTail {
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(stderr: Readable | null) {
    stderr?.on('data', (chunk: Buffer) => this.#push(chunk));
  }

  toString(): string {
    const kept = Buffer.concat(this.#chunks).subarray(-KEEP_BYTES);
    return redactCredentials(kept.toString('utf8'));
  }

  #push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes - (this.#chunks[0]?.length ?? 0) >= KEEP_BYTES) {
      this.#bytes -= this.#chunks.shift()?.length ?? 0;
    }
  }
}
