import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Transform, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ChildExitError, ManagedChild } from 'holdfast';
import { Deadline } from './deadline.ts';
import { DEVICE_CODES } from './errors.ts';
import type { DrawnFault, StreamFault } from './faults.ts';
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

export interface StreamProgram {
  readonly ffmpeg: string;
  readonly args: readonly string[];
}

/** One client that watches: holds its tuner until its connection is closed, and its ffmpeg as long. */
export class SimulatedStream {
  readonly channel: string;
  readonly #response: ServerResponse;
  readonly #use: TunerUse;
  readonly #gone = new AbortController();
  readonly #wire = new Wire();
  #child: ManagedChild | undefined;
  #isLive = false;
  #drawn: DrawnFault<StreamFault> | undefined;
  #pendingFault: NodeJS.Timeout | undefined;

  constructor(response: ServerResponse, use: TunerUse) {
    this.channel = use.holder.channel ?? '';
    this.#response = response;
    this.#use = use;
    response.once('close', () => this.#leave());
  }

  /** The ffmpeg of this stream, once it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  #leave(): void {
    clearTimeout(this.#pendingFault);
    this.#use[Symbol.dispose]();
    this.#gone.abort();
    this.#response.destroy();
  }

  /** Streams until the client leaves or the program ends; resolves when the program is gone. */
  async run({ ffmpeg, args }: StreamProgram, startDelayMs: number): Promise<void> {
    const { signal } = this.#gone;
    try {
      if (startDelayMs > 0) await sleep(startDelayMs, undefined, { signal });
      await using child = await ManagedChild.spawn(ffmpeg, args, { signal, graceMs: 100 });
      this.#child = child;
      if (await this.#hasVideo(child)) await this.#send(child);
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

  /** Whether the first bytes came in time. Throws `ChildExitError` if the program ended without any. */
  async #hasVideo({ name, stdout, exited }: ManagedChild): Promise<boolean> {
    using limit = new Deadline(NO_VIDEO_MS, () => undefined, this.#gone.signal);
    const readable = once(stdout as NodeJS.ReadableStream, 'readable', { signal: limit.signal });
    await Promise.race([readable, exited]).catch(() => {});
    this.#gone.signal.throwIfAborted();
    if ((stdout?.readableLength ?? 0) > 0) return true;
    if (limit.signal.aborted) return false;
    throw new ChildExitError(name, await exited);
  }

  async #send({ stdout }: ManagedChild): Promise<void> {
    this.#response.writeHead(200, {
      'Content-Type': 'video/mpeg',
      'transferMode.dlna.org': 'Streaming',
      'X-HDHomeRun-Resource': this.#use.resource,
    });
    this.#isLive = true;
    this.#arm();
    await pipeline(stdout as NodeJS.ReadableStream, this.#wire, this.#response, { signal: this.#gone.signal });
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
    else if (fault === 'end') void this.#child?.terminate('the stream was ordered to end');
    else this.#wire.fault = fault;
  }

  heal(): void {
    this.#drawn = undefined;
    clearTimeout(this.#pendingFault);
    this.#wire.fault = undefined;
  }
}
