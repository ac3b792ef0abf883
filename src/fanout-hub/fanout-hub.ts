import type { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { ClosedError, SourceEndedError, SubscriberLimitError } from '../errors.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import { createEmitter } from '../internal/events.ts';
import { checkKnown, checkSignal } from '../internal/options.ts';
import { Broadcast } from './broadcast.ts';
import { checkDestination, Destination, isBodiless } from './destination.ts';
import type { FanoutHubEvents, FanoutHubState, FanoutHubStats } from './events.ts';
import {
  checkHubOptions,
  checkMaxLagBytes,
  checkOnLag,
  type FanoutHubOptions,
  type HubSettings,
  type OnLag,
} from './options.ts';
import type { Sink } from './sink.ts';
import { SliceQueue } from './slice-queue.ts';
import { SourceKeeper, type SourceOwner } from './source-keeper.ts';
import { HubSubscription, type Subscription, type SubscriptionOwner } from './subscription.ts';

const publish = diagnosticsOf('fanout-hub');

/**
 * Reads one source and hands its bytes to any number of subscribers. The source is opened for the first subscriber and
 * closed after the last; there is never more than one. Most callers want {@link FanoutHub.pipe}.
 *
 * Every subscriber gets the same bytes in order and without a gap: from the first byte if it waited for the opening, else
 * from the slice on that follows its joining, or from the last join point that was kept (`joinPoint`, `prerollBytes`). No
 * subscriber slows the source or the others: one that can't follow is dropped at `maxLagBytes` or `maxLagMs`, or skips
 * (`onLag`).
 *
 * States: `idle` → `opening` (the source was called) → `live` (its first byte came) → `closing` (it is being torn down)
 * → `idle`, or `opening` again if subscribers came meanwhile: they get a fresh source, never the dying one.
 *
 * It can not see bytes in the kernel's send buffers, and it can not force a source that ignores its signal: the hub
 * then stays `closing`, opens nothing, and fails those who wait after `startTimeoutMs`.
 *
 * @example
 * const hub = new FanoutHub({ source: () => createReadStream('/dev/dvb/adapter0/dvr0'), align: 188 });
 * createServer(async (_request, response) => {
 *   const { error } = await hub.pipe(response).ended;
 *   if (error && !response.headersSent) response.writeHead(503).end();
 * });
 */
export class FanoutHub implements AsyncDisposable {
  readonly #settings: HubSettings;
  readonly #events = createEmitter<FanoutHubEvents>();
  readonly #broadcast: Broadcast;
  readonly #keeper: SourceKeeper;
  readonly #subscribers: SubscriptionOwner;
  #openings = 0;
  #failures = 0;
  #lagged = 0;
  #skips = 0;
  #skippedBytes = 0;

  /** Opens nothing. Throws `RangeError` or `TypeError` for a bad option. */
  constructor(options: FanoutHubOptions) {
    this.#settings = checkHubOptions(options);
    this.#broadcast = new Broadcast(this.#settings, (error) => this.#keeper.fail(error));
    this.#keeper = new SourceKeeper(this.#settings, this.#sourceOwner());
    this.#subscribers = this.#subscriptionOwner();
    publish('created', { hub: this });
  }

  get name(): string {
    return this.#settings.name;
  }

  get state(): FanoutHubState {
    return this.#keeper.state;
  }

  /** How many subscribe now, those who wait for the first byte included. */
  get subscribers(): number {
    return this.#broadcast.subscriptions.size;
  }

  /** Counters since the hub was made, and gauges. */
  stats(): FanoutHubStats {
    const lags = [...this.#broadcast.subscriptions].map(({ lagBytes }) => lagBytes);
    return {
      ...this.#broadcast.stats,
      state: this.state,
      subscribers: this.subscribers,
      openings: this.#openings,
      failures: this.#failures,
      lagged: this.#lagged,
      skips: this.#skips,
      skippedBytes: this.#skippedBytes,
      lagBytes: lags.reduce((most, lag) => Math.max(most, lag), 0),
      lags,
    };
  }

  /**
   * Writes the source to a destination until one of them ends.
   *
   * Nothing is written before the first byte, so that after an earlier failure (`ended` with `error`) a response can
   * still be given a status. Call it before `writeHead`, with `statusCode` and headers set: a body without chunking
   * then, which ends with its connection. A response without a body (to HEAD, or with
   * status 204 or 304) ends at once and opens no source.
   *
   * After the first byte the destination is ended with the source or the hub, destroyed when the source fails, reset
   * when it lags, and handed back as it is when `signal` aborts or the subscription is disposed. To an HTTP/1 client the
   * failure of a live source is thus the end of its connection, which with a body without chunking looks like a clean
   * one: only `ended` and the `failure` event tell.
   *
   * Never throws for the state of the hub or the destination: `ended` tells. Throws `TypeError` for a destination that
   * is no byte stream.
   */
  pipe(
    destination: Writable | ServerResponse,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Subscription {
    checkKnown('pipe', options, ['signal']);
    checkDestination(destination);
    const signal = checkSignal(options.signal);
    const subscription = this.#subscription(new Destination(destination), this.#settings);
    if (isBodiless(destination)) subscription.end('left', errorOfEnding(destination));
    else this.#add(subscription, signal);
    return subscription;
  }

  /**
   * Gives the slices to one `for await` loop. The buffers are shared with all subscribers and read-only: copy what is
   * kept or changed. Breaking the loop leaves the hub; so does `signal`.
   *
   * The loop ends when the source or the hub does, after the slices that were queued; it throws `error` if the source
   * failed or if the loop was too slow (`SubscriberLaggedError`). A subscription that is not iterated queues up to
   * `maxLagBytes` and is then dropped, or skips (`onLag`).
   */
  subscribe(
    options: {
      readonly signal?: AbortSignal | undefined;
      readonly maxLagBytes?: number | undefined;
      readonly onLag?: OnLag | undefined;
    } = {},
  ): Subscription & AsyncIterable<Buffer> {
    checkKnown('subscribe', options, ['signal', 'maxLagBytes', 'onLag']);
    const { signal, maxLagBytes = this.#settings.maxLagBytes, onLag = this.#settings.onLag } = options;
    const queue = new SliceQueue();
    const limits = { maxLagBytes: checkMaxLagBytes(maxLagBytes), onLag: checkOnLag(onLag) };
    const subscription = this.#subscription(queue, limits);
    this.#add(subscription, checkSignal(signal));
    return Object.assign(subscription, { [Symbol.asyncIterator]: () => queue[Symbol.asyncIterator]() });
  }

  /**
   * Closes the source and opens it anew; the subscribers stay and see no more than a gap. Resolves when the new source
   * gives its first byte, or at once if the hub is idle; rejects with the error of the new opening.
   */
  restart(reason?: unknown): Promise<void> {
    return this.#keeper.restart(reason);
  }

  /**
   * Ends every subscription with `closed` and tears the source down; resolves when all of it is gone. Idempotent. Later
   * subscriptions end at once with a `ClosedError`.
   */
  close(reason?: unknown): Promise<void> {
    const error = new ClosedError(this.name);
    const closed = this.#keeper.close(reason ?? error);
    for (const subscription of [...this.#broadcast.subscriptions]) {
      subscription.end('closed', subscription.isLive ? undefined : error);
    }
    return closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  on<E extends keyof FanoutHubEvents>(event: E, listener: FanoutHubEvents[E]): this {
    this.#events.on(event, listener);
    return this;
  }

  once<E extends keyof FanoutHubEvents>(event: E, listener: FanoutHubEvents[E]): this {
    this.#events.once(event, listener);
    return this;
  }

  off<E extends keyof FanoutHubEvents>(event: E, listener: FanoutHubEvents[E]): this {
    this.#events.off(event, listener);
    return this;
  }

  #subscription(sink: Sink, { maxLagBytes, onLag }: Pick<HubSettings, 'maxLagBytes' | 'onLag'>): HubSubscription {
    const { maxLagMs, startTimeoutMs: maxWaitMs } = this.#settings;
    return new HubSubscription(sink, this.#subscribers, { maxLagBytes, maxLagMs, onLag, maxWaitMs });
  }

  #add(subscription: HubSubscription, signal: AbortSignal | undefined): void {
    const { name, maxSubscribers } = this.#settings;
    if (this.#keeper.isClosed) subscription.end('closed', new ClosedError(name));
    else if (this.subscribers >= maxSubscribers) {
      subscription.end('closed', new SubscriberLimitError(name, maxSubscribers));
    } else subscription.open(signal);
    if (!subscription.isOpen) return;
    this.#broadcast.add(subscription);
    this.#keeper.want();
  }

  /** Ends those that `concerns` picks; one that was given nothing needs an error, as its destination is still open. */
  #end(error: unknown, concerns: (subscription: HubSubscription) => boolean = () => true): void {
    for (const subscription of [...this.#broadcast.subscriptions].filter(concerns)) {
      if (error !== undefined) subscription.end('source-failed', error);
      else subscription.end('source-ended', subscription.isLive ? undefined : new SourceEndedError(this.name));
    }
  }

  /** Ends those who have waited for as long as a start may take; tells in how many milliseconds the next one has. */
  #expired(error: unknown): number | undefined {
    const { startTimeoutMs } = this.#settings;
    this.#end(error, ({ isLive, waitedMs }) => !isLive && waitedMs >= startTimeoutMs);
    const waiting = [...this.#broadcast.subscriptions].filter(({ isLive }) => !isLive);
    if (waiting.length === 0) return undefined;
    return startTimeoutMs - Math.max(...waiting.map(({ waitedMs }) => waitedMs));
  }

  #subscriptionOwner(): SubscriptionOwner {
    const broadcast = this.#broadcast;
    return {
      name: this.name,
      get position() {
        return broadcast.position;
      },
      skipped: (bytes) => {
        this.#skippedBytes += bytes;
      },
      left: (subscription) => {
        const { subscriptions } = broadcast;
        if (subscriptions.delete(subscription) && subscriptions.size === 0) this.#keeper.unwant();
      },
      lagged: (subscription, error, onLag) => {
        if (onLag === 'skip') this.#skips++;
        else this.#lagged++;
        publish('lag', { hub: this, subscription, error, onLag });
        this.#events.emit('lag', subscription, error);
      },
    };
  }

  #sourceOwner(): SourceOwner {
    return {
      isWanted: () => this.subscribers > 0,
      entered: (state) => this.#entered(state),
      opened: () => {
        this.#openings++;
        this.#happened('open');
      },
      data: (chunk, turnMs) => this.#broadcast.push(chunk, turnMs),
      flush: () => this.#broadcast.end(),
      over: (error, wasLive) => {
        const { reopen } = this.#settings;
        this.#end(error, ({ isLive }) => !reopen || !(wasLive || isLive));
      },
      givenUp: (error) => this.#end(error, ({ isLive }) => isLive),
      expired: (error) => this.#expired(error),
      failed: (error) => {
        this.#failures++;
        publish('failure', { hub: this, error });
        this.#events.emit('failure', error);
      },
    };
  }

  #entered(state: FanoutHubState): void {
    if (state === 'closing') this.#broadcast.discard();
    else if (state === 'closed') publish('closed', { hub: this });
    else if (state === 'live' || state === 'idle') this.#happened(state);
  }

  #happened(event: 'open' | 'live' | 'idle'): void {
    publish(event, { hub: this });
    this.#events.emit(event);
  }
}

/** What a destination throws when it is ended, if it does. */
function errorOfEnding(destination: Writable): unknown {
  try {
    destination.end();
    return undefined;
  } catch (error) {
    return error;
  }
}
