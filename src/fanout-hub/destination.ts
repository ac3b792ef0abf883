import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { afterPoll } from '../internal/time.ts';
import { Backlog } from './backlog.ts';
import { watchConnection } from './connection.ts';
import type { Sink } from './sink.ts';

/**
 * Writes slices to a `Writable` or an HTTP response. Untouched before the first slice. A destination that is full is given
 * no more until it says so: what it was given can't be taken back, and how far it is can't be seen.
 */
export class Destination implements Sink {
  readonly #destination: Writable;
  /** What is written to: the destination, or the socket under it. Unset before the first slice. */
  #target: Writable | undefined;
  readonly #backlog = new Backlog();
  /** While it is written to as well, which may call back. */
  #isFull = false;
  /** What the target has with the slice that is being written, whether it has taken that in already or not. */
  #withSlice = 0;
  /** No more slices come: it is ended as soon as it has what waits. */
  #isEnding = false;
  #onGone: (error?: unknown) => void = ignore;
  #unwatch: () => void = ignore;
  readonly #onClose = () => this.#onGone();
  readonly #onError = (error: unknown) => this.#onGone(error);
  readonly #onDrain = () => {
    this.#isFull = false;
    this.#pump();
  };

  constructor(destination: Writable) {
    this.#destination = destination;
  }

  get lagBytes(): number {
    return Math.max(this.#heldBytes, this.#withSlice) + this.#backlog.bytes;
  }

  /** By the target, as far as it tells. */
  get #heldBytes(): number {
    return this.#target?.writableLength ?? 0;
  }

  open(onGone: (error?: unknown) => void): void {
    this.#onGone = onGone;
    if (isOver(this.#destination)) onGone();
    else this.#watch();
  }

  #watch(): void {
    this.#destination.on('close', this.#onClose).on('finish', this.#onClose).on('error', this.#onError);
    if (isHttp1Response(this.#destination)) this.#unwatch = watchConnection(this.#destination, this.#onClose);
  }

  write(slices: readonly Buffer[]): void {
    for (const slice of slices) this.#backlog.push(slice);
    this.#pump();
  }

  discard(): number {
    return this.#backlog.clear();
  }

  finish(done: () => void): void {
    const isOpen = this.#target !== undefined && !isOver(this.#destination);
    this.#onGone = () => {
      // It is told how much had gone out, so before what waits is forgotten.
      done();
      if (isOpen || this.#destination.destroyed) this.#handOverToItsClose();
      else this.release();
    };
    this.#isEnding = true;
    if (isOpen) this.#pump();
    else this.#onGone();
  }

  fail(error: unknown): void {
    if (this.#target) this.#destroy(error);
    else this.release();
  }

  drop(error: unknown): void {
    const socket = socketOf(this.#destination);
    if (socket && reset(socket)) this.#handOverToItsClose();
    else this.#destroy(error);
  }

  release(): void {
    const wasEnded = this.#isEnding && this.#destination.writableEnded;
    if (wasEnded) this.#handOverToItsClose();
    else this.#letGo();
  }

  #letGo(): void {
    this.#onGone = ignore;
    this.#isEnding = false;
    this.#backlog.clear();
    this.#target?.off('drain', this.#onDrain);
    this.#unwatch();
    this.#destination.off('close', this.#onClose).off('finish', this.#onClose).off('error', this.#onError);
  }

  /** Writes what waits, as much as there is room for. What the destination throws ends it, not its caller. */
  #pump(): void {
    if (this.#leftIfOver() || this.#isFull) return;
    try {
      this.#target ??= this.#begin();
      this.#fill(this.#target);
      if (this.#isEnding && this.#backlog.length === 0 && !this.#isFull) this.#destination.end();
    } catch (error) {
      this.#onGone(error);
    }
  }

  /** Many slices go to a socket in one system call. */
  #fill(target: Writable): void {
    const socket = this.#backlog.length > 1 && target instanceof Socket ? target : undefined;
    socket?.cork();
    try {
      let slice = this.#backlog.shift();
      while (slice) {
        this.#hand(target, slice);
        slice = this.#isFull || this.#leftIfOver() ? undefined : this.#backlog.shift();
      }
    } finally {
      socket?.uncork();
    }
  }

  /** One that its owner ended, or whose client wants no more, is left; one that was destroyed says so itself, and why. */
  #leftIfOver(): boolean {
    const target = this.#target ?? this.#destination;
    if (!isOver(this.#destination) && !isOver(target)) return false;
    if (!this.#destination.destroyed && !target.destroyed) this.#onGone();
    return true;
  }

  #hand(target: Writable, slice: Buffer): void {
    this.#isFull = true;
    this.#withSlice = this.#heldBytes + slice.length;
    // Only `false` says that it is full, and promises to say when it drains.
    if (target.write(slice) !== false) this.#isFull = false;
    this.#withSlice = 0;
  }

  #begin(): Writable {
    socketOf(this.#destination)?.setNoDelay(true);
    const target = isHttp1Response(this.#destination) ? beginBody(this.#destination) : this.#destination;
    // To send the head may have called back as well.
    if (this.#onGone !== ignore) target.on('drain', this.#onDrain);
    return target;
  }

  #destroy(error: unknown): void {
    this.#handOverToItsClose();
    // An HTTP server would report the error of a response as one of its client.
    if (isHttp1Response(this.#destination)) this.#destination.destroy();
    else this.#destination.destroy(error instanceof Error ? error : new Error('the source failed', { cause: error }));
  }

  /** We have ended it, so an error that it reports until it has closed is nobody else's to catch. */
  #handOverToItsClose(): void {
    this.#letGo();
    const destination = this.#destination;
    const forget = () => destination.off('error', ignore);
    destination.on('error', ignore);
    // It is closed before it says so.
    if (destination.closed) afterPoll(forget);
    else destination.once('close', forget);
  }
}

export function checkDestination(destination: Writable): void {
  const isStream = typeof destination?.write === 'function' && typeof destination.on === 'function';
  if (!isStream) throw new TypeError('destination must be a Writable or a ServerResponse');
  if (destination.writableObjectMode) throw new TypeError('destination is in object mode; it must take bytes');
}

/** Whether it is a response that has no body: to HEAD, or by its status. */
export function isBodiless(destination: Writable): boolean {
  const { req, statusCode } = destination as Partial<ServerResponse>;
  return req?.method === 'HEAD' || (req !== undefined && (statusCode === 204 || statusCode === 304));
}

/**
 * A body without chunking, which ends with its connection: the cheapest framing there is, and then its bytes need nothing
 * of the response, so that they go straight to the socket. Where the head is out already or the length is known the body is
 * framed as they promise; one who made `write` his own, to compress, gets the bytes there.
 */
function beginBody(response: ServerResponse): Writable {
  if (response.headersSent || response.hasHeader('content-length')) return response;
  response.removeHeader('transfer-encoding');
  response.setHeader('connection', 'close');
  const { socket } = response;
  const isPlain = response.write === process.getBuiltinModule('node:http').OutgoingMessage.prototype.write;
  // Behind others on its connection it has no socket yet.
  if (!socket || !isPlain) return response;
  response.flushHeaders();
  return socket;
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
