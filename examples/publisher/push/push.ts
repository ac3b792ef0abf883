import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FanoutHub, ServiceContext, ServiceHandle, Supervisor } from 'holdfast';
import type { Channel } from '../channel/channel.ts';
import type { PushConfig } from '../config/schema.ts';
import { PushFailedError } from '../errors.ts';
import { flvComplaint, programOf } from '../hls/playable.ts';
import type { Logger } from '../log.ts';
import { OUTSIDE_RETRY_MS } from '../pipeline/told-to-end.ts';
import { PushTarget } from './push-target.ts';
import { endOf, type SendingEnd, type SendingTerms, send } from './sending.ts';

export interface PushTerms {
  readonly channel: (id: string) => Channel | undefined;
  readonly ffmpeg: () => string;
  /** They may change. */
  readonly limits: SendingTerms['limits'];
  readonly log: Logger;
}

/** `waiting`: there is no such channel now. `held-back`: it failed, and is tried again later. `stopped`: with its channel. */
export type PushState = 'waiting' | 'opening' | 'live' | 'held-back' | 'stopped';

type Phase = Exclude<PushState, 'held-back'>;

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

const CHANNEL_POLL_MS = 500;
const STOPPED = 'its channel was stopped by the operator; it goes on with a reload (SIGHUP) or the next start';

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
    if (this.#phase === 'stopped') return STOPPED;
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
        const end = await this.#send(channel, { signal, ready });
        if (end === 'outside') await sleep(OUTSIDE_RETRY_MS, undefined, { signal });
        // Where another takes its place at once, its end was wanted, and not for a moment only.
        if (end === 'closed' && this.#terms.channel(this.config.channel)) await this.#stayStopped(signal);
      }
    } catch (error) {
      if (signal.aborted) throw error;
      const failed = new PushFailedError(this.id, this.#target.scrub(messageOf(error)));
      this.#log.warn(`push ${this.id} to ${this.#target.shown} failed: ${failed.message}`);
      throw failed;
    }
  }

  async #stayStopped(signal: AbortSignal): Promise<void> {
    this.#become('stopped');
    await once(signal, 'abort');
    signal.throwIfAborted();
  }

  async #channel(signal: AbortSignal): Promise<Channel> {
    const find = () => this.#terms.channel(this.config.channel);
    for (let channel = find(); ; channel = find()) {
      if (channel) return channel;
      this.#become('waiting');
      await sleep(CHANNEL_POLL_MS, undefined, { signal });
    }
  }

  /** Resolves when it has to be begun anew and nothing has failed; rejects with what it ends by else. */
  async #send(channel: Channel, { signal, ready }: Pick<ServiceContext, 'signal' | 'ready'>): Promise<SendingEnd> {
    const hub = channel.rendition(this.config.profile);
    this.#hub = hub;
    await using subscription = channel.feed(signal, this.config.profile);
    const isOver = await subscription.live.then(
      () => false,
      () => true,
    );
    if (isOver) return endOf(subscription);
    await this.#checkCodecs(channel, signal);
    const { ffmpeg, limits } = this.#terms;
    const sent = (bytes: number) => {
      this.#bytes += bytes;
      this.#become('live');
      ready();
    };
    return await send(subscription, { ffmpeg: ffmpeg(), args: this.#target.arguments, hub, signal, limits, sent });
  }

  /** FLV carries few codecs, and ffmpeg would say so only in its own words. */
  async #checkCodecs(channel: Channel, signal: AbortSignal): Promise<void> {
    if (this.#target.protocol !== 'rtmp') return;
    const { startTimeoutMs: timeoutMs } = this.#terms.limits;
    await using probed = await programOf(channel, this.config.profile, { timeoutMs, signal });
    const complaint = flvComplaint(probed.program);
    if (complaint) throw new Error(`${complaint}; set "profile": "web" for this push`);
  }

  #become(phase: Phase): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#enter(phase);
    const { channel } = this.config;
    const about = {
      ...{ waiting: `waits for channel ${channel}`, opening: `opens channel ${channel}`, live: 'is live' },
      stopped: `is stopped with channel ${channel}`,
    };
    this.#log.info(`push ${this.id}: ${about[phase]}, to ${this.#target.shown}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
