import type { ServerResponse } from 'node:http';
import {
  type AttemptContext,
  type ChildExit,
  ChildExitError,
  FanoutHub,
  type FanoutReopen,
  type FanoutSourceContext,
  ReadyTimeoutError,
  RestartRefusedError,
  type SourceHandle,
  type SpawnContext,
  type Subscription,
} from 'holdfast';
import { mpegTsJoinPoint, PACKET_BYTES } from '../../mpeg-ts/index.ts';
import type { Controls } from '../controls.ts';
import { EncoderHeldBackError, NothingToEncodeError, TracksUnsteadyError } from '../errors.ts';
import { type Failure, failureOf } from '../failure.ts';
import { isFaultOfEncoder } from '../failure-kinds.ts';
import type { Logger } from '../log.ts';
import { startEncoder } from './encoder.ts';
import { EncoderFeed } from './encoder-feed.ts';
import { type Encoding, encodingOf, hasFailed } from './encoding.ts';
import { fullPoolErrorOr } from './full-pool.ts';
import { type HardwareEncoders, SOFTWARE } from './hardware.ts';
import { type EncodedProfile, RECIPES } from './profiles.ts';
import { renditionArguments, type VideoEncoder } from './rendition-arguments.ts';
import { isToldToEnd, OUTSIDE_RETRY_MS } from './told-to-end.ts';

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
  /** Somebody came who wants to see it. */
  askAtOnce(): void;
}

/** The channel has the time to start that it always has; it is told of first, should it fail. */
const ENCODER_START_MS = 5_000;
/** What viewers wait for when it was no fault of the encoder that it could not be started. */
const RETRY_MS = 5_000;
/** Tracks that change twice within this are no switch. */
const UNSTEADY_MS = 1_500;
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
  /** What the encoder that takes the place of this one is fed with. */
  #next: { readonly feed: EncoderFeed; readonly leave: () => void } | undefined;
  #changedAt = Number.NEGATIVE_INFINITY;

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
    const verdict = this.#settings.controls.encoders.canRestart(this.#id);
    return verdict.allowed ? this.#source.refused : failureOf(new EncoderHeldBackError(this.#id, verdict));
  }

  /** What keeps those who watch it waiting may be over by now: one who comes is not told before that was tried. */
  watch(response: ServerResponse): Subscription {
    this.#postponedUntil = 0;
    this.#source.askAtOnce();
    return this.hub.pipe(response);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaveNext();
    await Promise.all([this.#settings.controls.encoders.stop(this.#id), this.hub.close()]);
  }

  /** The channel is opened first: what it fails with is no fault of the encoder, and costs no process. */
  async #open({ signal, use }: FanoutSourceContext): Promise<SourceHandle> {
    const program = this.#settings.ffmpeg();
    const feeds = (): EncoderFeed => use(this.#feed(signal));
    const first = use(this.#takeNext() ?? this.#feed(signal));
    await first.live;
    try {
      const open = ({ signal }: AttemptContext) => this.#encode(program, { first, feeds, signal });
      return (await this.#settings.controls.encoders.attempt(this.#id, open, { signal })).handle;
    } catch (error) {
      if (error instanceof RestartRefusedError) throw new EncoderHeldBackError(this.#id, error, error.cause);
      throw error;
    }
  }

  #feed(signal: AbortSignal): EncoderFeed {
    return new EncoderFeed(this.#source.feed(signal), {
      name: this.#id,
      stallTimeoutMs: this.#settings.stallTimeoutMs,
      onOtherTracks: () => this.#goOnWithOtherTracks(),
    });
  }

  /**
   * ffmpeg waits for the tracks that it found at its start. Another takes its place at once: that the channel goes on with
   * another source is no failure of what encodes it. It never stops being watched meanwhile.
   */
  #goOnWithOtherTracks(): void {
    const at = performance.now();
    if (at - this.#changedAt < UNSTEADY_MS) throw new TracksUnsteadyError(this.#id, UNSTEADY_MS);
    this.#changedAt = at;
    this.#log.info(`channel ${this.#id}: its tracks are others now, it is encoded anew`);
    const leaving = new AbortController();
    this.#next = { feed: this.#feed(leaving.signal), leave: () => leaving.abort() };
    this.hub.restart().catch(() => {});
  }

  #leaveNext(): void {
    this.#next?.leave();
    this.#next = undefined;
  }

  #takeNext(): EncoderFeed | undefined {
    const next = this.#next;
    this.#next = undefined;
    return next?.feed;
  }

  /**
   * By hardware if there is some; should that fail now, by the processor. If that fails as well, it is the stream that can't
   * be encoded, and no fault of the hardware.
   */
  async #encode(program: string, { first, feeds, signal }: EncodingTerms): Promise<Encoding> {
    const { encoders } = this.#settings;
    const encoder = RECIPES[this.profile].video ? await encoders.encoder() : SOFTWARE;
    try {
      return await this.#start(program, encoder, first, signal);
    } catch (error) {
      if (signal.aborted || !isFaultOfEncoder(error) || encoder.kind === 'software') throw error;
      const encoding = await this.#start(program, SOFTWARE, feeds(), signal);
      encoders.giveUp(encoder, error);
      return encoding;
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
      void lease.child.closed.then((exit) => this.#ended(exit, encoder, feed));
      this.#log.info(`channel ${this.#id}: encoded by ${encoder.kind}`);
      return encodingOf(lease, feed);
    } catch (error) {
      if (signal.aborted) throw error;
      const hasNothing = feed.isOver || (feed.isStarved && error instanceof ReadyTimeoutError);
      throw hasNothing ? new NothingToEncodeError(this.#id, error) : fullPoolErrorOr(error, controls.pool);
    }
  }

  #ended(exit: ChildExit, encoder: VideoEncoder, { isOver }: EncoderFeed): void {
    this.#timelineMs += exit.durationMs + AHEAD_MS;
    if (isToldToEnd(exit)) this.#postponedUntil = performance.now() + OUTSIDE_RETRY_MS;
    if (isOver || !hasFailed(exit)) return;
    const why = new ChildExitError('ffmpeg', exit);
    void this.#settings.encoders.doubt(encoder, why).catch(() => {});
  }

  #verdict(): Exclude<ReturnType<FanoutReopen>, false> {
    const verdict = this.#settings.controls.encoders.canRestart(this.#id);
    const leftMs = this.#postponedUntil - performance.now();
    return verdict.allowed && leftMs > 0 ? { allowed: false, retryAfterMs: leftMs } : verdict;
  }

  #listen(): void {
    this.hub.on('idle', () => {
      this.#timelineMs = 0;
      this.#leaveNext();
    });
    this.hub.on('failure', (error) => {
      const failure = failureOf(error);
      const { retryAfterMs = RETRY_MS, status, title, detail } = failure;
      if (!isFaultOfEncoder(error)) this.#postponedUntil = performance.now() + retryAfterMs;
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
