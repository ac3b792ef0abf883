import { setTimeout as sleep } from 'node:timers/promises';
import {
  ChildExitError,
  type FanoutHub,
  ManagedChild,
  type ServiceContext,
  type ServiceHandle,
  type Subscription,
  type Supervisor,
} from 'holdfast';
import type { Channel } from '../channel/channel.ts';
import { subscribeTo } from '../channel/subscribe-to.ts';
import type { PushConfig } from '../config/schema.ts';
import { PushFailedError } from '../errors.ts';
import { flvComplaint, programOf } from '../hls/playable.ts';
import type { Logger } from '../log.ts';
import { feed } from '../pipeline/feed.ts';
import { PushTarget } from './push-target.ts';

export interface PushTerms {
  readonly channel: (id: string) => Channel | undefined;
  readonly ffmpeg: () => string;
  /** Asked for each try, so that it can change. */
  readonly startTimeoutMs: () => number;
  readonly log: Logger;
}

/** `waiting`: there is no such channel now. `held-back`: it failed, and is tried again later. */
export type PushState = 'waiting' | 'opening' | 'live' | 'held-back' | 'stopped';

type Phase = Extract<PushState, 'waiting' | 'opening' | 'live'>;

/** A push, as `/api/pushes` tells of it. No secret is in it. */
export interface PushView {
  readonly id: string;
  readonly channel: string;
  readonly profile: string;
  readonly url: string;
  readonly state: PushState;
  readonly since: string;
  /** Sent since the program began. */
  readonly bytes: number;
  readonly restarts: number;
  /** Why it is not live; null if it is. */
  readonly why: string | null;
  readonly retryAfterMs: number | null;
}

/** From the request to end to the kill: a peer is told that the stream is over. */
const GRACE_MS = 500;
const CHANNEL_POLL_MS = 500;

/** Sends one channel to one address for ever: a supervised service, which keeps its channel open. */
export class Push {
  readonly id: string;
  readonly config: PushConfig;
  readonly #target: PushTarget;
  readonly #terms: PushTerms;
  readonly #log: Logger;
  readonly #service: ServiceHandle;
  #phase: Phase = 'opening';
  #hub: FanoutHub | undefined;
  #since = new Date();
  #lastState: PushState = 'opening';
  #bytes = 0;

  /** @param service the id of the service: that of a push which it takes the place of may still be ending */
  constructor(
    { id, service }: { readonly id: string; readonly service: string },
    config: PushConfig,
    supervisor: Supervisor,
    terms: PushTerms,
  ) {
    this.id = id;
    this.config = config;
    this.#terms = terms;
    this.#log = terms.log.child({ push: id, channel: config.channel });
    this.#target = new PushTarget(config.url);
    this.#service = supervisor.start(service, (context) => this.#run(context));
    this.#service.done.catch(() => {});
  }

  get state(): PushState {
    const { state } = this.#service;
    if (state === 'stopped' || state === 'failed') return 'stopped';
    if (state === 'backing-off' || state === 'blocked') return 'held-back';
    return this.#phase === 'live' && this.#hub?.state !== 'live' ? 'opening' : this.#phase;
  }

  view(): PushView {
    const { restarts, refusal, lastError } = this.#service.status();
    const { channel, profile } = this.config;
    const { state } = this;
    this.#enter(state);
    return {
      ...{ id: this.id, channel, profile, url: this.#target.shown, state, since: this.#since.toISOString() },
      ...{ bytes: this.#bytes, restarts, why: this.#why(state, lastError, refusal?.why) },
      retryAfterMs: refusal ? Math.ceil(refusal.retryAfterMs) : null,
    };
  }

  async stop(): Promise<void> {
    await this.#service.stop();
  }

  #why(state: PushState, error: unknown, refusal: string | undefined): string | null {
    if (state === 'live') return null;
    if (state === 'waiting') return `there is no channel ${this.config.channel}; it begins when there is`;
    const said = error instanceof Error ? error.message : undefined;
    return said && refusal ? `${said} (${refusal})` : (said ?? null);
  }

  #enter(state: PushState): void {
    if (state === this.#lastState) return;
    this.#lastState = state;
    this.#since = new Date();
  }

  /** One life of it: ends only by a failure, or when it is told to. */
  async #run({ signal, ready }: ServiceContext): Promise<void> {
    try {
      for (;;) {
        const channel = await this.#channel(signal);
        this.#become('opening');
        await this.#send(channel, { signal, ready });
        // The channel is gone: another of its id may come.
        await sleep(CHANNEL_POLL_MS, undefined, { signal });
      }
    } catch (error) {
      if (signal.aborted) throw error;
      const failed = new PushFailedError(this.id, this.#target.scrub(messageOf(error)));
      this.#log.warn(`push ${this.id} to ${this.#target.shown} failed: ${failed.message}`);
      throw failed;
    }
  }

  async #channel(signal: AbortSignal): Promise<Channel> {
    const find = () => this.#terms.channel(this.config.channel);
    for (let channel = find(); ; channel = find()) {
      if (channel) return channel;
      this.#become('waiting');
      await sleep(CHANNEL_POLL_MS, undefined, { signal });
    }
  }

  /** Resolves when the channel was closed for good; rejects with what else it ends by. */
  async #send(channel: Channel, { signal, ready }: Pick<ServiceContext, 'signal' | 'ready'>): Promise<void> {
    this.#hub = channel.rendition(this.config.profile);
    await using subscription = subscribeTo(channel, this.config.profile, signal);
    const isOver = await subscription.live.then(
      () => false,
      () => true,
    );
    if (isOver) return endOf(subscription);
    await this.#checkCodecs(channel);
    await using child = await ManagedChild.spawn(this.#terms.ffmpeg(), this.#target.arguments, {
      ...{ stdin: 'pipe', signal, graceMs: GRACE_MS, name: 'ffmpeg' },
    });
    this.#follow(child, ready);
    const fed = feedAll(subscription, child);
    const exit = await Promise.race([child.closed, fed]);
    if (exit) throw new ChildExitError('ffmpeg', exit);
    await endOf(subscription);
  }

  /** FLV carries few codecs, and ffmpeg would say so only in its own words. */
  async #checkCodecs(channel: Channel): Promise<void> {
    if (this.#target.protocol !== 'rtmp') return;
    await using probed = await programOf(channel, this.config.profile, this.#terms.startTimeoutMs());
    const complaint = flvComplaint(probed.program);
    if (complaint) throw new Error(`${complaint}; set "profile": "web" for this push`);
  }

  /** ffmpeg tells again and again how much it has sent. */
  #follow(child: ManagedChild, ready: () => void): void {
    child.stdin?.on('error', () => {});
    let sent = 0;
    child.stdout?.setEncoding('latin1').on('data', (text: string) => {
      const total = Number(/total_size=(\d+)/.exec(text)?.[1] ?? 0);
      if (total <= sent) return;
      this.#bytes += total - sent;
      sent = total;
      this.#become('live');
      ready();
    });
  }

  #become(phase: Phase): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#enter(phase);
    const { channel } = this.config;
    const about = { waiting: `waits for channel ${channel}`, opening: `opens channel ${channel}`, live: 'is live' };
    this.#log.info(`push ${this.id}: ${about[phase]}, to ${this.#target.shown}`);
  }
}

/** Resolves when nothing more comes. */
async function feedAll(subscription: AsyncIterable<Buffer>, child: ManagedChild): Promise<undefined> {
  try {
    for await (const bytes of subscription) await feed(child, bytes);
  } catch {
    // Its end tells.
  }
}

/** Resolves if it was closed for good; rejects with what else it ended by. */
async function endOf({ ended }: Subscription): Promise<void> {
  const { reason, error } = await ended;
  if (reason === 'closed') return;
  throw error ?? new Error(`the channel ended (${reason})`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
