import type { FanoutHub, SubscriptionEnd } from 'holdfast';
import type { Channel } from '../channel/channel.ts';
import type { Profile } from '../config/schema.ts';
import { NotSegmentedError } from '../errors.ts';
import { type RingPosition, SegmentRing } from './segment-ring.ts';
import type { SegmentStore } from './segment-store.ts';
import { Segmenter } from './segmenter.ts';

/** What is cut. */
export interface Watched {
  readonly channel: Channel;
  readonly profile: Profile;
}

export interface HlsSettings {
  readonly hlsSegmentMs: number;
  readonly hlsSegments: number;
  readonly startTimeoutMs: number;
}

/** A playlist without news is stale after so many target durations; sooner where the source is known to be away. */
const STALE_TARGETS = 3;
const STALE_TARGETS_CLOSED = 1.5;

/** How it ended, as its subscription tells, or `idle`. */
export type HlsEnd = SubscriptionEnd['reason'] | 'idle';

/** Cuts one rendition of one channel into segments, from when it is made until its last user has left. */
export class HlsStream implements AsyncDisposable {
  readonly ring: SegmentRing;
  /** Resolves with the first segment; rejects with what the stream failed by before. */
  readonly ready: Promise<void>;
  /** Resolves when it is over and nothing of it is left; never rejects. */
  readonly over: Promise<HlsEnd>;
  readonly #watched: Watched;
  readonly #hub: FanoutHub;
  readonly #settings: HlsSettings;
  readonly #segmenter: Segmenter;
  readonly #ready = Promise.withResolvers<void>();
  readonly #leaving = new AbortController();
  #isIdle = false;
  #users = 0;

  /** @param next where the playlist goes on that this one takes the place of */
  constructor(watched: Watched, settings: HlsSettings, store: SegmentStore, next: RingPosition) {
    this.#watched = watched;
    this.#hub = watched.channel.rendition(watched.profile);
    this.#settings = settings;
    this.ring = new SegmentRing(settings.hlsSegments, store, next);
    this.#segmenter = new Segmenter(settings.hlsSegmentMs, (segment) => {
      this.ring.add(segment, this.targetSeconds);
      this.#ready.resolve();
    });
    this.ready = this.#ready.promise;
    this.ready.catch(() => {});
    this.over = this.#run();
  }

  /** What a playlist says that no segment is longer than, once there is one. */
  get targetSeconds(): number {
    return this.#segmenter.targetSeconds ?? 1;
  }

  get isOver(): boolean {
    return this.#leaving.signal.aborted;
  }

  /** Whether it has nothing new for players who expect it. */
  get isStale(): boolean {
    const targets = this.#hub.state === 'live' ? STALE_TARGETS : STALE_TARGETS_CLOSED;
    return performance.now() - this.ring.updatedAt > targets * this.targetSeconds * 1_000;
  }

  /** It goes on for at least as long as this is not disposed of. */
  use(): Disposable {
    this.#users++;
    let isUsed = true;
    return {
      [Symbol.dispose]: () => {
        if (isUsed && --this.#users === 0) this.#leaveIdle();
        isUsed = false;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaving.abort();
    await this.over;
  }

  #leaveIdle(): void {
    if (this.isOver) return;
    this.#isIdle = true;
    this.#leaving.abort();
  }

  async #run(): Promise<HlsEnd> {
    const onSource = () => this.#segmenter.break();
    this.#hub.on('live', onSource);
    const { channel, profile } = this.#watched;
    channel.askAtOnce();
    const subscription = channel.feed(this.#leaving.signal, profile);
    const limit = this.#limitFirst(subscription.live);
    try {
      for await (const bytes of subscription) this.#segmenter.push(bytes);
    } catch {
      // The end tells it.
    }
    const { reason, error } = await subscription.ended;
    limit[Symbol.dispose]();
    this.#hub.off('live', onSource);
    this.#ready.reject(error ?? new NotSegmentedError(this.#hub.name, 'it ended'));
    this.#leaving.abort();
    this.ring.clear();
    return this.#isIdle ? 'idle' : reason;
  }

  /** What comes may be nothing that can be cut. */
  #limitFirst(live: Promise<void>): Disposable {
    let timer: NodeJS.Timeout | undefined;
    const { startTimeoutMs } = this.#settings;
    const giveUp = () => {
      if (this.ring.size > 0) return;
      this.#ready.reject(
        new NotSegmentedError(this.#hub.name, `no two key frames with a time came in ${startTimeoutMs} ms`),
      );
      this.#leaving.abort();
    };
    const begin = () => {
      if (!this.isOver) timer = setTimeout(giveUp, startTimeoutMs);
    };
    live.then(begin, () => {});
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  }
}
