import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { Sink } from './sink.ts';

/** Writes slices to a `Writable` or an HTTP response. Untouched before the first slice. */
export class Destination implements Sink {
  readonly #destination: Writable;
  #begun = false;
  #onGone: (error?: unknown) => void = ignore;
  readonly #onClose = () => this.#onGone();
  readonly #onError = (error: unknown) => this.#onGone(error);

  constructor(destination: Writable) {
    this.#destination = destination;
  }

  get lagBytes(): number {
    return this.#destination.writableLength;
  }

  open(onGone: (error?: unknown) => void): void {
    this.#onGone = onGone;
    if (isOver(this.#destination)) onGone();
    else this.#destination.on('close', this.#onClose).on('finish', this.#onClose).on('error', this.#onError);
  }

  write(slice: Buffer): void {
    if (!this.#begun) this.#begin();
    this.#destination.write(slice);
  }

  finish(done: () => void): void {
    const isOpen = this.#begun && !isOver(this.#destination);
    this.#onGone = () => {
      if (isOpen) this.#handOverToItsClose();
      else this.release();
      done();
    };
    if (isOpen) this.#destination.end();
    else this.#onGone();
  }

  fail(error: unknown): void {
    if (this.#begun) this.#destroy(error);
    else this.release();
  }

  drop(error: unknown): void {
    const socket = socketOf(this.#destination);
    if (socket && reset(socket)) this.#handOverToItsClose();
    else this.#destroy(error);
  }

  release(): void {
    this.#onGone = ignore;
    this.#destination.off('close', this.#onClose).off('finish', this.#onClose).off('error', this.#onError);
  }

  #begin(): void {
    this.#begun = true;
    if (isHttp1Response(this.#destination)) prepareHead(this.#destination);
    socketOf(this.#destination)?.setNoDelay(true);
  }

  #destroy(error: unknown): void {
    this.#handOverToItsClose();
    // An HTTP server would report the error of a response as one of its client.
    if (isHttp1Response(this.#destination)) this.#destination.destroy();
    else this.#destination.destroy(error instanceof Error ? error : new Error('the source failed', { cause: error }));
  }

  /** We have ended it, so an error that it reports until it has closed is nobody else's to catch. */
  #handOverToItsClose(): void {
    this.release();
    const destination = this.#destination;
    if (destination.closed) return;
    destination.on('error', ignore);
    destination.once('close', () => destination.off('error', ignore));
  }
}

export function checkDestination(destination: Writable): void {
  const isStream = typeof destination?.write === 'function' && typeof destination.on === 'function';
  if (!isStream) throw new TypeError('destination must be a Writable or a ServerResponse');
  if (destination.writableObjectMode) throw new TypeError('destination is in object mode; it must take bytes');
}

/** Whether a response answers a HEAD request, and so wants no body. */
export function isHead(destination: Writable): boolean {
  return (destination as Partial<ServerResponse>).req?.method === 'HEAD';
}

/**
 * A body without chunking, which ends with its connection: the cheapest framing there is. Nothing is changed if the
 * head is out already or the length is known.
 */
function prepareHead(response: ServerResponse): void {
  if (response.headersSent || response.hasHeader('content-length')) return;
  response.removeHeader('transfer-encoding');
  response.setHeader('connection', 'close');
}

/**
 * Frees the kernel's send buffer too, megabytes for a reader that never reads, which `destroy` leaves there. Only plain
 * TCP can: false for TLS and for unix sockets.
 */
function reset(socket: Socket): boolean {
  try {
    socket.resetAndDestroy();
    return true;
  } catch {
    return false;
  }
}

/** Loads `node:http` only for who looks like one of its responses: it would be over a third of an import of this package. */
function isHttp1Response(destination: Writable): destination is ServerResponse {
  return 'writeHead' in destination && destination instanceof process.getBuiltinModule('node:http').ServerResponse;
}

/** The HTTP/1 response's or the socket itself; a stream of HTTP/2 shares its socket with others. */
function socketOf(destination: Writable): Socket | undefined {
  if (destination instanceof Socket) return destination;
  return isHttp1Response(destination) ? (destination.socket ?? undefined) : undefined;
}

/** A response of HTTP/2 does not say itself that it is destroyed, its stream does. */
function isOver(destination: Writable & { readonly stream?: unknown }): boolean {
  const { destroyed, writableEnded, stream } = destination;
  return destroyed || writableEnded || (stream as Partial<Writable> | undefined)?.destroyed === true;
}

function ignore(): void {}
