import { connect, type Socket } from 'node:net';
import { hostNow } from '../../src/internal/time.ts';
import { CHUNK_BYTES, lookAt } from './crowd-source.ts';

export const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

/** Takes everything, and looks whether it is the source, chunk by chunk. */
export class Viewer {
  readonly arrivals: { readonly atMs: number; readonly dueMs: number }[] = [];
  bytes = 0;
  fault: string | undefined;
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #hasHead = false;
  #next: number | undefined;

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1', () => this.#socket.write(REQUEST));
    this.#socket.on('data', (bytes) => this.#received(bytes, hostNow()));
    this.#socket.on('close', () => (this.fault ??= `a healthy one was disconnected after ${this.bytes} bytes`));
    this.#socket.on('error', (error) => (this.fault ??= String(error)));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #received(bytes: Buffer, atMs: number): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const body = this.#hasHead ? 0 : all.indexOf('\r\n\r\n') + 4;
    this.#hasHead = true;
    let at = body;
    for (; at + CHUNK_BYTES <= all.length; at += CHUNK_BYTES) this.#check(all.subarray(at, at + CHUNK_BYTES), atMs);
    this.#rest = all.subarray(at);
    this.bytes += at - body;
  }

  #check(chunk: Buffer, atMs: number): void {
    const { position, dueMs, isWhole } = lookAt(chunk);
    if (!isWhole || position !== (this.#next ?? position)) this.fault ??= `${position} where ${this.#next} should be`;
    this.#next = position + CHUNK_BYTES;
    this.arrivals.push({ atMs, dueMs });
  }
}
