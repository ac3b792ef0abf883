import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { Deadline } from './deadline.ts';
import { ControlError, DeviceUnreachableError, HdhomerunError, PacketError } from './errors.ts';
import type { GetsetReply, GetsetRequest } from './messages.ts';
import { decodeGetsetReply, decodeGetsetRequest, encodeGetsetReply, encodeGetsetRequest } from './messages.ts';
import { type Frame, takeFrame } from './packet.ts';

const CONTROL_PORT = 65001;
/** A peer that says nothing for this long is let go. */
const IDLE_MS = 30_000;
const MAX_CONNECTIONS = 32;

export interface ControlServerOptions {
  readonly address: string;
  readonly port: number;
  /** Answers one request; `peer` is the address it came from. */
  readonly answer: (request: GetsetRequest, peer: string) => GetsetReply;
}

/**
 * The TCP side of port 65001: one reply per request, in order. A peer that sends rubbish is disconnected, and one that
 * asks without reading the answers is not listened to until it does.
 */
export class ControlServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #answer: ControlServerOptions['answer'];

  private constructor(answer: ControlServerOptions['answer']) {
    this.#answer = answer;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Rejects with the system's error (`EADDRINUSE`) if the port is taken. */
  static async start({ address, port, answer }: ControlServerOptions): Promise<ControlServer> {
    const control = new ControlServer(answer);
    const listening = once(control.#server, 'listening');
    control.#server.listen(port, address);
    await listening;
    return control;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {}); // a reset by the peer; `close` follows
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    const peer = socket.remoteAddress ?? '';
    socket.on('drain', () => socket.resume());
    onFrames(socket, (frame) => {
      const isTaken = socket.write(encodeGetsetReply(this.#answer(decodeGetsetRequest(frame), peer)));
      // Of one that asks and does not read, no more is read.
      if (!isTaken) socket.pause();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Cuts what arrives into frames. Rubbish destroys the socket with the {@link PacketError}. */
function onFrames(socket: Socket, handle: (frame: Frame) => void): void {
  let received: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    try {
      for (let taken = takeFrame(received); taken && !socket.destroyed; taken = takeFrame(received)) {
        received = taken.rest;
        handle(taken.frame);
      }
    } catch (error) {
      // A fault of who answers costs the one that asked its connection, and not the program.
      if (!(error instanceof PacketError)) process.emitWarning(error as Error);
      socket.destroy(error as Error);
    }
  });
}

export interface ControlOptions {
  /** @default 65001 */
  readonly port?: number | undefined;
  /** @default 2500 */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Reads a variable, such as `/sys/model` or `/tuner0/status`. Rejects with {@link ControlError} if the device refuses. */
export function getVariable(address: string, name: string, options: ControlOptions = {}): Promise<string> {
  return exchange(address, { name }, options);
}

/** Sets a variable and returns what the device made of it. Rejects with {@link ControlError} if the device refuses. */
export function setVariable(
  address: string,
  { name, value, lockKey }: GetsetRequest & { readonly value: string },
  options: ControlOptions = {},
): Promise<string> {
  return exchange(address, { name, value, lockKey }, options);
}

async function exchange(address: string, request: GetsetRequest, options: ControlOptions): Promise<string> {
  const { port = CONTROL_PORT, timeoutMs = 2500 } = options;
  const where = `${address}:${port}`;
  const late = () => new DeviceUnreachableError(where, `no answer to ${request.name} within ${timeoutMs} ms`);
  options.signal?.throwIfAborted();
  using deadline = new Deadline(timeoutMs, late, options.signal);
  const socket = createConnection({ host: address, port });
  try {
    const reply = decodeGetsetReply(await roundTrip(socket, encodeGetsetRequest(request), deadline.signal));
    if ('error' in reply) throw new ControlError(request.name, reply.error);
    return reply.value;
  } catch (error) {
    throw isSystemError(error) ? new DeviceUnreachableError(where, error.message || error.code, error) : error;
  } finally {
    socket.destroy();
  }
}

/** From the system, as opposed to what this code throws. A name with two addresses fails with an empty message. */
function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && !(error instanceof HdhomerunError);
}

function roundTrip(socket: Socket, request: Buffer, signal: AbortSignal): Promise<Frame> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    socket.on('error', reject);
    socket.on('close', () => reject(new PacketError('the connection ended without a reply')));
    onFrames(socket, resolve);
    socket.write(request);
  });
}
