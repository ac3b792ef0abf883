import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Transform, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Deadline } from './deadline.ts';
import { DEVICE_CODES } from './errors.ts';
import type { DrawnFault, StreamFault } from './faults.ts';
import type { Feed, OpenFeed } from './feeds.ts';
import type { TunerUse } from './tuner-bank.ts';

/** As long as a real device waits for video. */
const NO_VIDEO_MS = 5000;

/** Refuses a request as a device does: the status, and the reason in its own header. */
export function refuse(response: ServerResponse, status: number, deviceCode?: number): void {
  if (deviceCode !== undefined) response.setHeader('X-HDHomeRun-Error', `${deviceCode} ${DEVICE_CODES[deviceCode]}`);
  response.writeHead(status).end();
}

/** What goes through one open connection, and what a fault makes of it. */
class Wire extends Transform {
  #fault: StreamFault | undefined;

  set fault(fault: StreamFault | undefined) {
    this.#fault = fault;
  }

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    if (this.#fault === 'stall') done();
    else done(null, this.#fault === 'garbage' ? randomBytes(chunk.length) : chunk);
  }
}

/** One client that watches: holds its tuner until its connection is closed, and what feeds it as long. */
export class SimulatedStream {
  readonly channel: string;
  readonly #response: ServerResponse;
  readonly #use: TunerUse;
  readonly #gone = new AbortController();
  readonly #wire = new Wire();
  #feed: Feed | undefined;
  #isLive = false;
  #drawn: DrawnFault<StreamFault> | undefined;
  #pendingFault: NodeJS.Timeout | undefined;

  constructor(response: ServerResponse, use: TunerUse) {
    this.channel = use.holder.channel ?? '';
    this.#response = response;
    this.#use = use;
    response.once('close', () => this.#leave());
  }

  /** The ffmpeg of this stream, if it has one, once it runs. */
  get pid(): number | undefined {
    return this.#feed?.pid;
  }

  #leave(): void {
    clearTimeout(this.#pendingFault);
    this.#use[Symbol.dispose]();
    this.#gone.abort();
    this.#response.destroy();
  }

  /** Streams until the client leaves or the feed ends; resolves when what fed it is gone. */
  async run(open: OpenFeed, startDelayMs: number): Promise<void> {
    const { signal } = this.#gone;
    try {
      if (startDelayMs > 0) await sleep(startDelayMs, undefined, { signal });
      await using feed = await open(signal);
      this.#feed = feed;
      if (await this.#hasVideo(feed)) await this.#send(feed);
      else refuse(this.#response, 503, 807);
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#response.headersSent) this.#response.destroy();
    else refuse(this.#response, 503, 806);
    throw error;
  }

  /** Whether the first bytes came in time. Throws what the feed ended with if there were none. */
  async #hasVideo({ stream, ended }: Feed): Promise<boolean> {
    using limit = new Deadline(NO_VIDEO_MS, () => undefined, this.#gone.signal);
    const readable = stream.readableLength > 0 || once(stream, 'readable', { signal: limit.signal });
    await Promise.race([readable, ended]).catch(() => {});
    this.#gone.signal.throwIfAborted();
    if (stream.readableLength > 0) return true;
    if (limit.signal.aborted) return false;
    throw await ended;
  }

  async #send({ stream }: Feed): Promise<void> {
    this.#response.writeHead(200, {
      'Content-Type': 'video/mpeg',
      'transferMode.dlna.org': 'Streaming',
      'X-HDHomeRun-Resource': this.#use.resource,
    });
    this.#isLive = true;
    this.#arm();
    await pipeline(stream, this.#wire, this.#response, { signal: this.#gone.signal });
  }

  /** Holds the tuner as if it waited for a signal, then gives up. */
  refuseLater(afterMs: number): void {
    this.#pendingFault = setTimeout(() => refuse(this.#response, 503, 807), afterMs);
  }

  /** Lets the fault strike, at the earliest when the first byte is on its way. */
  inject(drawn: DrawnFault<StreamFault>): void {
    this.#drawn = drawn;
    if (this.#isLive) this.#arm();
  }

  #arm(): void {
    if (!this.#drawn) return;
    const { fault, afterMs } = this.#drawn;
    clearTimeout(this.#pendingFault);
    if (afterMs === 0) this.#strike(fault);
    else this.#pendingFault = setTimeout(() => this.#strike(fault), afterMs);
  }

  #strike(fault: StreamFault): void {
    if (fault === 'cut') this.#response.socket?.resetAndDestroy();
    else if (fault === 'end') this.#feed?.end();
    else this.#wire.fault = fault;
  }

  heal(): void {
    this.#drawn = undefined;
    clearTimeout(this.#pendingFault);
    this.#wire.fault = undefined;
  }
}
