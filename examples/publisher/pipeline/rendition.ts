import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import {
  type ChildExit,
  ChildExitError,
  FanoutHub,
  type FanoutReopen,
  type FanoutSourceContext,
  type ManagedChild,
  type ProcessLease,
  ReadyTimeoutError,
  RestartRefusedError,
  type SourceHandle,
  type SpawnContext,
  type Subscription,
} from 'holdfast';
import { mpegTsJoinPoint, PACKET_BYTES } from '../../mpeg-ts/index.ts';
import type { Controls } from '../controls.ts';
import { EncoderStalledError } from '../errors.ts';
import { type Failure, failureOf } from '../failure.ts';
import type { Logger } from '../log.ts';
import { startEncoder } from './encoder.ts';
import { EncoderFeed } from './encoder-feed.ts';
import { fullPoolErrorOr } from './full-pool.ts';
import type { HardwareEncoders } from './hardware.ts';
import type { EncodedProfile } from './profiles.ts';
import { renditionArguments, type VideoEncoder } from './rendition-arguments.ts';

/** What all renditions have in common. */
export interface RenditionSettings {
  readonly startTimeoutMs: number;
  /** An encoder that gives nothing for so long, though it is given something, is ended. */
  readonly stallTimeoutMs: number;
  readonly deinterlace: boolean;
  readonly encoders: HardwareEncoders;
  /** The ffmpeg to run; throws an error that says how to get one. */
  readonly ffmpeg: () => string;
  readonly controls: Controls;
}

/** What is encoded. */
export interface RenditionSource {
  readonly entry: { readonly id: string; readonly name: string };
  /** Why nobody who comes now would see it. */
  readonly refused: Failure | undefined;
  /** What a slow reader can't take is left out. */
  feed(signal: AbortSignal): Subscription & AsyncIterable<Buffer>;
}

/** The channel has the time to start that it always has; it is told of first, should it fail. */
const ENCODER_START_MS = 5_000;
/** What viewers wait for when it was no fault of the encoder that it could not be started. */
const RETRY_MS = 5_000;
/** What a channel keeps for who comes is encoded at once: a timeline is ahead of the clock by so much at most. */
const AHEAD_MS = 2_500;

/**
 * One profile of one channel: a hub whose source is one ffmpeg, fed with what the channel gives. It runs while somebody
 * watches it, and is one viewer of its channel, which a slow encoder does not hold up: what it can't take is left out.
 */
export class Rendition implements AsyncDisposable {
  readonly hub: FanoutHub;
  readonly profile: EncodedProfile;
  /** For the supervisor, the pool, the log and metrics. */
  readonly #id: string;
  readonly #source: RenditionSource;
  readonly #settings: RenditionSettings;
  readonly #log: Logger;
  /** Not before, by `performance.now()`. */
  #postponedUntil = 0;
  /** Where the next timeline begins, so that it follows the last. */
  #timelineMs = 0;

  constructor(profile: EncodedProfile, source: RenditionSource, settings: RenditionSettings, log: Logger) {
    this.profile = profile;
    this.#id = `${source.entry.id}/${profile}`;
    this.#source = source;
    this.#settings = settings;
    this.#log = log;
    this.hub = new FanoutHub({
      name: this.#id,
      align: PACKET_BYTES,
      joinPoint: mpegTsJoinPoint(),
      startTimeoutMs: settings.startTimeoutMs + ENCODER_START_MS,
      source: (context) => this.#open(context),
      reopen: () => this.#verdict(),
    });
    this.#listen();
  }

  /** What a viewer is told who comes while it is not tried, or its channel is not. */
  get refused(): Failure | undefined {
    if (this.hub.state === 'live') return undefined;
    const verdict = this.#settings.controls.supervisor.canRestart(this.#id);
    if (verdict.allowed) return this.#source.refused;
    return failureOf(new RestartRefusedError(this.#id, verdict.why, verdict.retryAfterMs));
  }

  /** What keeps those who watch it waiting may be over by now: one who comes is not told before that was tried. */
  watch(response: ServerResponse): Subscription {
    this.#postponedUntil = 0;
    return this.hub.pipe(response);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#settings.controls.supervisor.stop(this.#id), this.hub.close()]);
  }

  /** The channel is opened first: what it fails with is no fault of the encoder, and costs no process. */
  async #open({ signal, use }: FanoutSourceContext): Promise<SourceHandle> {
    const { ffmpeg, controls } = this.#settings;
    const program = ffmpeg();
    const feeds = (): EncoderFeed => use(this.#feed(signal));
    const first = feeds();
    await first.live;
    const encoding = await controls.supervisor.attempt(
      this.#id,
      ({ signal }) => this.#encode(program, { first, feeds, signal }),
      { signal },
    );
    return encoding.handle;
  }

  #feed(signal: AbortSignal): EncoderFeed {
    return new EncoderFeed(this.#source.feed(signal), this.#id, this.#settings.stallTimeoutMs);
  }

  /** By hardware if there is some; should that fail now, by the processor. */
  async #encode(program: string, terms: EncodingTerms): Promise<Encoding> {
    const { encoders } = this.#settings;
    const encoder = await encoders.encoder();
    try {
      return await this.#start(program, encoder, terms.first, terms.signal);
    } catch (error) {
      if (terms.signal.aborted || !isOfEncoder(error) || !encoders.giveUp(encoder, error)) throw error;
      return await this.#start(program, await encoders.encoder(), terms.feeds(), terms.signal);
    }
  }

  async #start(program: string, encoder: VideoEncoder, feed: EncoderFeed, signal: AbortSignal): Promise<Encoding> {
    const { controls, startTimeoutMs, deinterlace } = this.#settings;
    const { name } = this.#source.entry;
    const beginSeconds = this.#timelineMs / 1_000;
    const args = renditionArguments({ profile: this.profile, name, deinterlace, encoder, beginSeconds });
    const spawn = ({ signal }: SpawnContext) =>
      startEncoder(program, args, { signal, startTimeoutMs, feed: (child) => feed.start(child) });
    try {
      const options = { key: this.#id, signal, timeoutMs: startTimeoutMs };
      const lease = await controls.pool.acquire(spawn, options);
      void lease.child.closed.then((exit) => this.#ended(exit, encoder));
      this.#log.info(`channel ${this.#id}: encoded by ${encoder.kind}`);
      return encodingOf(lease, feed);
    } catch (error) {
      throw fullPoolErrorOr(error, controls.pool);
    }
  }

  #ended(exit: ChildExit, encoder: VideoEncoder): void {
    this.#timelineMs += exit.durationMs + AHEAD_MS;
    if (exit.reason === 'exited' && exit.code !== 0) {
      this.#settings.encoders.giveUp(encoder, new ChildExitError('ffmpeg', exit));
    }
  }

  #verdict(): Exclude<ReturnType<FanoutReopen>, false> {
    const verdict = this.#settings.controls.supervisor.canRestart(this.#id);
    const leftMs = this.#postponedUntil - performance.now();
    return verdict.allowed && leftMs > 0 ? { allowed: false, retryAfterMs: leftMs } : verdict;
  }

  #listen(): void {
    this.hub.on('idle', () => {
      this.#timelineMs = 0;
    });
    this.hub.on('failure', (error) => {
      const failure = failureOf(error);
      const { retryAfterMs = RETRY_MS, status, title, detail } = failure;
      if (!isOfEncoder(error)) this.#postponedUntil = performance.now() + retryAfterMs;
      this.#log.warn({ status }, `channel ${this.#id}: ${title}: ${detail}`);
    });
    this.hub.on('lag', (_, error) =>
      this.#log.warn({ lagBytes: error.lagBytes }, `channel ${this.#id}: ${error.message}`),
    );
  }
}

interface EncodingTerms {
  readonly first: EncoderFeed;
  /** Makes another. */
  readonly feeds: () => EncoderFeed;
  readonly signal: AbortSignal;
}

/** An ffmpeg that encodes, as the supervisor and as the hub see it. */
interface Encoding {
  /** That its channel is over is no failure of the encoder. */
  readonly closed: Promise<{ readonly reason: string }>;
  readonly handle: SourceHandle;
}

function encodingOf(lease: ProcessLease<ManagedChild>, feed: EncoderFeed): Encoding & AsyncDisposable {
  const { name, stdout, closed, exited } = lease.child;
  const dispose = () => lease[Symbol.asyncDispose]();
  const handle = { name, stdout: stdout as Readable, closed, exited, [Symbol.asyncDispose]: dispose };
  const asSeen = closed.then((exit) => (feed.isOver ? { reason: 'aborted' } : exit));
  return { handle, closed: asSeen, [Symbol.asyncDispose]: dispose };
}

/** Whether ffmpeg itself failed, and not what it was to encode. */
function isOfEncoder(error: unknown): boolean {
  return [ChildExitError, ReadyTimeoutError, EncoderStalledError].some((kind) => error instanceof kind);
}
