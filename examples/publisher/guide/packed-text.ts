import { once } from 'node:events';
import { Readable } from 'node:stream';
import { createGunzip, createGzip, type Gzip } from 'node:zlib';

/** So much text is given to gzip at a time. */
const BATCH_CHARACTERS = 64 * 1024;
const GZIP_MAGIC = [0x1f, 0x8b] as const;

/** Text that is packed as it is written; gzip works in another thread, and this one never for long. */
export class PackedText implements Disposable {
  readonly #gzip: Gzip = createGzip();
  readonly #packed: Buffer[] = [];
  #pending: string[] = [];
  #characters = 0;

  constructor() {
    this.#gzip.on('data', (chunk: Buffer) => this.#packed.push(chunk));
  }

  /** Wait for it before more is written. */
  async write(text: string): Promise<void> {
    this.#pending.push(text);
    this.#characters += text.length;
    if (this.#characters >= BATCH_CHARACTERS) await this.#flush();
  }

  async end(): Promise<Buffer> {
    await this.#flush();
    this.#gzip.end();
    await once(this.#gzip, 'end');
    return Buffer.concat(this.#packed);
  }

  /** When nobody wants more of it, ended or not. */
  [Symbol.dispose](): void {
    this.#gzip.destroy();
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.from(this.#pending.join(''));
    this.#pending = [];
    this.#characters = 0;
    if (!this.#gzip.write(bytes)) await once(this.#gzip, 'drain');
    else await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A gzip of ours, unpacked as it is read. */
export function unpacked(gzip: Buffer): Readable {
  return Readable.from([gzip]).pipe(createGunzip());
}

/** What comes, unpacked if it is gzip, whatever its name and headers say. */
export async function* plainBytes(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]();
  let begin = Buffer.alloc(0);
  let isDone: boolean | undefined = false;
  while (begin.length < GZIP_MAGIC.length && !isDone) {
    const { value, done } = await iterator.next();
    isDone = done;
    if (value) begin = Buffer.concat([begin, value]);
  }
  const rest = { [Symbol.asyncIterator]: () => iterator };
  const all = (async function* () {
    yield begin;
    yield* rest;
  })();
  if (GZIP_MAGIC.every((byte, index) => begin[index] === byte)) yield* gunzipped(all);
  else yield* all;
}

/** An error of what comes in is an error of what comes out. */
async function* gunzipped(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = Readable.from(bytes, { objectMode: false });
  const gunzip = createGunzip();
  source.on('error', (error) => gunzip.destroy(error));
  try {
    yield* source.pipe(gunzip) as AsyncIterable<Buffer>;
  } finally {
    source.destroy();
  }
}
