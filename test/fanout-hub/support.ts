import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { PassThrough, Readable, Writable } from 'node:stream';
import type { FanoutSource, FanoutSourceContext, SourceHandle } from '../../src/fanout-hub/options.ts';

/** A source whose openings the test sees and whose bytes it writes. */
export class ScriptedSource {
  readonly streams: PassThrough[] = [];
  readonly contexts: FanoutSourceContext[] = [];

  readonly open: FanoutSource = (context) => {
    const stream = new PassThrough();
    this.contexts.push(context);
    this.streams.push(stream);
    return stream;
  };

  get openings(): number {
    return this.contexts.length;
  }

  /** The stream of the newest opening. */
  get stream(): PassThrough {
    const stream = this.streams.at(-1);
    if (!stream) throw new Error('the source is not open');
    return stream;
  }

  get signal(): AbortSignal | undefined {
    return this.contexts.at(-1)?.signal;
  }

  write(bytes: string | Buffer): void {
    this.stream.write(bytes);
  }
}

/** A Writable that keeps what it got. */
export class Sponge extends Writable {
  readonly chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk);
    done();
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }
}

/** A Writable that never takes what it is given. */
export class Clogged extends Writable {
  override _write(): void {}
}

/** Bytes whose value tells their place in the stream, so that any gap or repetition shows. */
export function numbered(start: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = mix(start + i);
  return bytes;
}

function mix(place: number): number {
  const once = Math.imul(place ^ (place >>> 16), 0x45d9f3b);
  const twice = Math.imul(once ^ (once >>> 16), 0x45d9f3b);
  return twice ^ (twice >>> 16);
}

/** A generator of the same numbers for the same seed, which a failing test prints. */
export function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function readableOf(...chunks: (string | Buffer)[]): Readable {
  return Readable.from(chunks.map((chunk) => Buffer.from(chunk)));
}

export interface TestServer extends AsyncDisposable {
  readonly server: Server;
  readonly port: number;
}

export async function serve(listener: RequestListener): Promise<TestServer> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { server, port, [Symbol.asyncDispose]: close };
}

/** A request on a socket of its own, whose bytes are collected as they come on the wire. */
export class RawClient {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  /** How many bytes came, head included. */
  length = 0;
  #received: Buffer[] = [];
  #outcome: string | undefined;

  constructor(port: number, request: string) {
    this.socket = connect(port, '127.0.0.1', () => this.socket.write(request));
    this.socket.on('data', (chunk) => {
      this.#received.push(chunk);
      this.length += chunk.length;
    });
    this.socket.on('end', () => (this.#outcome ??= 'end'));
    this.socket.on('error', (error: NodeJS.ErrnoException) => (this.#outcome ??= error.code ?? error.message));
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()));
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#received);
  }

  get head(): string {
    return this.bytes.toString('latin1').split('\r\n\r\n')[0] ?? '';
  }

  get body(): Buffer {
    const { bytes } = this;
    return bytes.subarray(bytes.indexOf('\r\n\r\n') + 4);
  }

  /** How the server closed the connection: `end` or the code of an error. */
  get outcome(): string | undefined {
    return this.#outcome;
  }
}

/** A request whose answer is never read; the kernel's receive buffer is all there is. */
export function blockedClient(port: number): Socket {
  const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
  socket.pause();
  socket.on('error', () => {});
  return socket;
}

/** A real process as a source, for what must not depend on another primitive. */
export function childHandle(script: string, signal: AbortSignal): SourceHandle & { readonly child: ChildProcess } {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderrTail = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderrTail += text));
  let reason = 'exited';
  const closed = new Promise((resolve) => {
    child.once('close', (code, signal) =>
      resolve({ code, signal, durationMs: performance.now() - startedAt, escapees: 0, stderrTail, reason }),
    );
  });
  const terminate = () => {
    reason = 'aborted';
    child.kill('SIGKILL');
  };
  signal.addEventListener('abort', terminate, { once: true });
  return {
    child,
    stdout: child.stdout,
    closed,
    async [Symbol.asyncDispose]() {
      terminate();
      await closed;
    },
  };
}
