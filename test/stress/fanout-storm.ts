import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { FanoutHub } from 'holdfast';
import { eventually } from '../support/eventually.ts';
import { mulberry32 } from '../support/random.ts';

const PACKET_BYTES = 188;
const HEAD_END = '\r\n\r\n';

export interface FanoutStorm {
  /** Viewers at any time. */
  readonly viewers: number;
  /** For so long at least, and until 20 have left for each of them. */
  readonly seconds: number;
  readonly bytesPerSecond: number;
  readonly seed: number;
}

export interface FanoutVerdict {
  readonly joined: number;
  readonly left: number;
  /** Those who stayed until the source ended. */
  readonly stayed: number;
  readonly sourceBytes: number;
  readonly receivedBytes: number;
  /** What must not be: bytes that are not those of the source in order, a connection that was closed, somebody left over. */
  readonly faults: readonly string[];
}

/**
 * Viewers over real sockets who join and leave at random; of each, what it received is compared by hash with the range of
 * the source that it must be.
 */
export async function fanoutStorm({ viewers, seconds, bytesPerSecond, seed }: FanoutStorm): Promise<FanoutVerdict> {
  const fraction = mulberry32(seed);
  const random = (below: number) => Math.floor(fraction() * below);
  const source = new NumberedSource();
  const faults: string[] = [];
  const hub = new FanoutHub({ source: () => source.stream, align: PACKET_BYTES, closeAfterMs: 60_000 });
  const server = createServer((_request, response) => void hub.pipe(response)).listen(0, '127.0.0.1', 4_096);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const here = new Set<HashingViewer>();
  const everyone: HashingViewer[] = [];
  const join = () => {
    const viewer = new HashingViewer(port);
    everyone.push(viewer);
    here.add(viewer);
  };
  const leave = () => {
    const [viewer] = [...here].slice(random(here.size));
    viewer?.leave();
    if (viewer) here.delete(viewer);
  };
  while (here.size < viewers) join();
  const begun = performance.now();
  const isOver = (now: number) => now > begun + seconds * 1_000 && everyone.length - here.size > 20 * seconds;
  for (let now = begun; !isOver(now); now = performance.now()) {
    const due = ((now - begun) / 1_000) * bytesPerSecond;
    while (source.length < due) source.write(1 + random(20_000));
    // A viewer stays for ten seconds or so.
    for (let change = 0; change < viewers / 1_000; change++) {
      leave();
      join();
    }
    await new Promise((resolve) => setTimeout(resolve, random(20)));
  }
  await eventually(() => {
    source.write(PACKET_BYTES);
    if ([...here].some((viewer) => viewer.bytes === 0)) throw new Error('somebody was given nothing');
  }, 30_000).catch((error) => faults.push(String(error)));
  source.stream.end();
  await Promise.all(everyone.map(({ closed }) => closed));
  for (const viewer of everyone) {
    const fault = viewer.faultIn(source.bytes, here.has(viewer));
    if (fault) faults.push(fault);
  }
  await hub.close();
  await new Promise((resolve) => server.close(resolve));
  if (hub.subscribers > 0) faults.push(`${hub.subscribers} subscribers are left`);
  return {
    joined: everyone.length,
    left: everyone.length - here.size,
    stayed: here.size,
    sourceBytes: source.length,
    receivedBytes: everyone.reduce((sum, { bytes }) => sum + bytes, 0),
    faults,
  };
}

/** Packets that begin with their number, so that who receives one knows where it is. */
class NumberedSource {
  readonly stream = new PassThrough();
  readonly #chunks: Buffer[] = [];
  #pending: Buffer = Buffer.alloc(0);
  #packets = 0;
  length = 0;

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  write(length: number): void {
    while (this.#pending.length < length) {
      const packet = Buffer.alloc(PACKET_BYTES, this.#packets);
      packet.writeUInt32BE(this.#packets++);
      this.#pending = Buffer.concat([this.#pending, packet]);
    }
    const chunk = this.#pending.subarray(0, length);
    this.#pending = this.#pending.subarray(length);
    this.#chunks.push(chunk);
    this.length += length;
    this.stream.write(chunk);
  }
}

class HashingViewer {
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #hash: Hash = createHash('sha1');
  #head = '';
  /** The begin of the body, until it says which packet it begins with. */
  #begin: Buffer = Buffer.alloc(0);
  #hasLeft = false;
  #error: string | undefined;
  bytes = 0;

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1', () => this.#socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    this.#socket.on('data', (chunk) => this.#received(chunk));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => (this.#error ??= error.code));
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  leave(): void {
    this.#hasLeft = true;
    this.#socket.destroy();
  }

  /** What is wrong with what it received, if anything is. */
  faultIn(source: Buffer, stayed: boolean): string | undefined {
    if (this.#error !== undefined && !this.#hasLeft) return `a viewer was told ${this.#error}`;
    if (this.bytes === 0) return stayed ? 'a viewer who stayed was given nothing' : undefined;
    const at = this.#begin.readUInt32BE(0) * PACKET_BYTES;
    const end = at + this.bytes;
    if (stayed && end !== source.length) return `a viewer who stayed has bytes ${at} to ${end} of ${source.length}`;
    const expected = createHash('sha1').update(source.subarray(at, end)).digest('hex');
    return this.#hash.digest('hex') === expected ? undefined : `bytes ${at} to ${end} are not those of the source`;
  }

  #received(chunk: Buffer): void {
    if (this.#head.endsWith(HEAD_END)) {
      this.#took(chunk);
      return;
    }
    const text = this.#head + chunk.toString('latin1');
    const end = text.indexOf(HEAD_END);
    this.#head = end < 0 ? text : HEAD_END;
    if (end >= 0) this.#took(Buffer.from(text.slice(end + HEAD_END.length), 'latin1'));
  }

  #took(body: Buffer): void {
    if (this.#begin.length < 4) this.#begin = Buffer.concat([this.#begin, body]).subarray(0, 4);
    this.bytes += body.length;
    this.#hash.update(body);
  }
}
