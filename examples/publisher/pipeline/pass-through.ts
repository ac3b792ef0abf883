import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { AdmissionError, minFreeFds, type SourceLock } from 'holdfast';
import { NotAStreamError, SourceClosedError, SourceLateError } from '../errors.ts';
import { type HttpAnswer, leave, openHttp } from './http-source.ts';
import type { OpenSource, SourceEnd } from './open-source.ts';
import { DECIDING_BYTES, firstPacketIn } from './packet-sync.ts';

/** Descriptors that are left for viewers when a source is opened, with a process or without. */
export const SPARE_DESCRIPTORS = 64;
const hasDescriptors = minFreeFds(SPARE_DESCRIPTORS);
/** With some that precede the first whole packet. */
const PEEK_BYTES = 2 * DECIDING_BYTES;

export interface PassThroughTerms {
  readonly signal: AbortSignal;
  readonly holds: SourceLock;
  readonly startTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * Opens an http(s) URL and passes on what comes, without a process, if that is MPEG-TS. For anything else the connection is
 * closed and the answer is `undefined`: ffmpeg may know what to make of it.
 *
 * @throws DeviceError, SourceUnreachableError, SourceClosedError, SourceLateError, RedirectError, NotAStreamError
 */
export async function openPassThrough(url: string, terms: PassThroughTerms): Promise<OpenSource | undefined> {
  const scarcity = hasDescriptors();
  if (scarcity) throw new AdmissionError(scarcity);
  using start = new Start(url, terms);
  const answer = await openHttp(url, { signal: start.signal, headers: terms.headers });
  if (!answer) return undefined;
  start.isAnswered = true;
  const begin = await firstBytes(answer, start.signal);
  const at = firstPacketIn(begin);
  if (at !== undefined && !answer.response.destroyed) return new PassThrough(answer, begin.subarray(at), terms);
  leave(answer.response);
  if (isDocument(answer.response, begin)) throw new NotAStreamError(answer.shown, begin);
  return undefined;
}

/** The time to start, joined with the signal of who opens. */
class Start implements Disposable {
  isAnswered = false;
  readonly #late = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly signal: AbortSignal;

  constructor(url: string, { signal, startTimeoutMs }: PassThroughTerms) {
    this.signal = AbortSignal.any([signal, this.#late.signal]);
    const expire = () => this.#late.abort(new SourceLateError(url, startTimeoutMs, this.isAnswered));
    this.#timer = setTimeout(expire, startTimeoutMs);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** As many as tell what it is, or all of a short one; the answer is paused behind them. */
async function firstBytes({ response, shown }: HttpAnswer, signal: AbortSignal): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let bytes: Buffer = Buffer.alloc(0);
  const take = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    if (firstPacketIn(bytes) !== undefined || bytes.length >= PEEK_BYTES) resolve();
  };
  const end = () => resolve();
  const cut = () => reject(new SourceClosedError(shown, 'cut'));
  const stop = () => reject(signal.reason);
  response
    .on('error', () => {})
    .on('data', take)
    .on('end', end)
    .on('close', cut);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    await promise;
    // More may have come in the same turn.
    return bytes;
  } catch (error) {
    leave(response);
    throw error;
  } finally {
    response.pause().off('data', take).off('end', end).off('close', cut);
    signal.removeEventListener('abort', stop);
  }
}

/** Login pages and error documents come with status 200 too; no player shows them. */
function isDocument({ headers }: IncomingMessage, begin: Buffer): boolean {
  const type = headers['content-type'] ?? '';
  return (
    /^(text\/html|application\/(problem\+)?json)/.test(type) ||
    /^\s*<(!doctype|html)/i.test(begin.toString('latin1', 0, 64))
  );
}

/** A connection whose bytes are the stream. It is read only as fast as it is taken. */
class PassThrough implements OpenSource {
  readonly stdout: Readable;
  readonly closed: Promise<SourceEnd>;
  readonly resource?: string;
  readonly #response: IncomingMessage;
  readonly #shown: string;
  readonly #stallTimeoutMs: number;
  /** The first cause; what happens later does not change it. */
  #end: SourceEnd | undefined;
  #takenAt = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor({ response, shown }: HttpAnswer, begin: Buffer, { signal, holds, stallTimeoutMs }: PassThroughTerms) {
    this.#response = response;
    this.#shown = shown;
    this.#stallTimeoutMs = stallTimeoutMs;
    const { 'x-hdhomerun-resource': resource } = response.headers;
    if (typeof resource === 'string') this.resource = resource;
    this.stdout = new Readable({
      read: () => void response.resume(),
      destroy: (error, done) => this.#close(error, done),
    });
    this.stdout.push(begin);
    const aborted = () => this.#over({ reason: 'aborted' });
    const lost = () => this.#over({ reason: 'lock-lost', error: holds.signal.reason });
    signal.addEventListener('abort', aborted, { once: true });
    holds.signal.addEventListener('abort', lost, { once: true });
    this.closed = this.#closing().finally(() => {
      signal.removeEventListener('abort', aborted);
      holds.signal.removeEventListener('abort', lost);
    });
    this.#listen();
    if (signal.aborted) aborted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over({ reason: 'terminated' });
    await this.closed;
  }

  #listen(): void {
    this.#response.on('data', (chunk: Buffer) => {
      this.#takenAt = performance.now();
      if (!this.stdout.push(chunk)) this.#response.pause();
    });
    this.#response.on('end', () => this.#broken('ended'));
    this.#response.on('error', (error) => this.#broken('cut', error));
    this.#response.on('close', () => this.#broken('cut'));
    this.#watch(this.#stallTimeoutMs);
  }

  /** One timer for many chunks: it looks when the last one came and sleeps for the rest. */
  #watch(ms: number): void {
    // What came while this process was busy is read first.
    this.#timer = setTimeout(() => setImmediate(() => this.#look()), ms);
  }

  #look(): void {
    if (this.#end) return;
    // What is not taken is no silence of the source.
    if (this.stdout.readableLength > 0) this.#takenAt = performance.now();
    const restMs = this.#takenAt + this.#stallTimeoutMs - performance.now();
    if (restMs > 0) this.#watch(restMs);
    else this.#broken('stalled');
  }

  #broken(how: 'ended' | 'cut' | 'stalled', cause?: unknown): void {
    const stallTimeoutMs = how === 'stalled' ? this.#stallTimeoutMs : undefined;
    this.#over({ reason: how, error: new SourceClosedError(this.#shown, how, cause, stallTimeoutMs) });
  }

  #over(end: SourceEnd): void {
    if (this.#end) return;
    this.#end = end;
    this.stdout.destroy(end.error as Error | undefined);
  }

  #close(error: Error | null, done: (error: Error | null) => void): void {
    this.#end ??= { reason: 'terminated' };
    clearTimeout(this.#timer);
    leave(this.#response);
    done(error);
  }

  /** Resolves when the descriptor is closed, so that a tuner is free. */
  async #closing(): Promise<SourceEnd> {
    const { socket } = this.#response;
    await new Promise<void>((resolve) => {
      if (socket.closed) resolve();
      else socket.once('close', () => resolve());
    });
    return this.#end ?? { reason: 'cut' };
  }
}
