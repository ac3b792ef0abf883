import { ClosedError, SubscriberLaggedError } from '../errors.ts';
import { onAbort, preHandled } from '../internal/abort.ts';
import { after, now } from '../internal/time.ts';
import { LagClock } from './lag-clock.ts';
import type { Sink } from './sink.ts';

/** How a subscription ended. */
export interface SubscriptionEnd {
  /**
   * - `left`: the subscriber's own doing: its destination closed, its signal aborted, it was disposed or broke its loop
   * - `source-ended`: the source ended cleanly
   * - `source-failed`: `error` tells why
   * - `lagged`: it was too far behind
   * - `closed`: the hub was closed, or would not take it: see `error`
   */
  readonly reason: 'left' | 'source-ended' | 'source-failed' | 'lagged' | 'closed';
  /** Bytes that the destination or the loop had taken. */
  readonly deliveredBytes: number;
  /** Bytes that were left out between those delivered: none, as one that lags is dropped. */
  readonly skippedBytes: number;
  /** Always set if not a byte was given, unless the destination went away without an error or answers a HEAD. */
  readonly error?: unknown;
}

/** One subscriber of a hub. Disposing of it leaves the hub. */
export interface Subscription extends AsyncDisposable {
  /** Resolves when the first bytes are given; rejects with the error of `ended` otherwise. Needs no `catch`. */
  readonly live: Promise<void>;
  /** Resolves when the subscription is over and what was given has been flushed; never rejects. */
  readonly ended: Promise<SubscriptionEnd>;
  /** Bytes given that were not taken yet; what the kernel holds is not seen. */
  readonly lagBytes: number;
  /** Bytes taken so far. */
  readonly deliveredBytes: number;
}

/** The hub, as its subscriptions see it. */
export interface SubscriptionOwner {
  readonly name: string;
  /** The subscription takes no more slices. */
  left(subscription: HubSubscription): void;
  /** It was dropped. */
  lagged(subscription: HubSubscription, error: SubscriberLaggedError): void;
}

export interface SubscriptionLimits {
  readonly maxLagBytes: number;
  readonly maxLagMs: number;
}

type Reason = SubscriptionEnd['reason'];

export class HubSubscription implements Subscription {
  readonly #sink: Sink;
  readonly #owner: SubscriptionOwner;
  readonly #limits: SubscriptionLimits;
  readonly #live = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<SubscriptionEnd>();
  readonly #lagClock = new LagClock();
  /** `ending`: takes no more slices, but what it was given is still being flushed. */
  #phase: 'open' | 'ending' | 'ended' = 'open';
  #finalBytes: number | undefined;
  #lagTimer: Disposable | undefined;
  #signal: Disposable | undefined;
  readonly #since = now();

  constructor(sink: Sink, owner: SubscriptionOwner, limits: SubscriptionLimits) {
    this.#sink = sink;
    this.#owner = owner;
    this.#limits = limits;
    preHandled(this.#live.promise);
  }

  get live(): Promise<void> {
    return this.#live.promise;
  }

  get ended(): Promise<SubscriptionEnd> {
    return this.#ended.promise;
  }

  get lagBytes(): number {
    // A destination may hold bytes of others, such as the head of a response.
    return this.#phase === 'ended' ? 0 : Math.min(this.#sink.lagBytes, this.#lagClock.given);
  }

  get deliveredBytes(): number {
    return this.#finalBytes ?? this.#lagClock.given - this.lagBytes;
  }

  get isOpen(): boolean {
    return this.#phase === 'open';
  }

  /** Whether it was given a byte. */
  get isLive(): boolean {
    return this.#lagClock.given > 0;
  }

  /** Milliseconds since it came. */
  get waitedMs(): number {
    return now() - this.#since;
  }

  /** Watches for the subscriber to go; may end the subscription at once. */
  open(signal: AbortSignal | undefined): void {
    if (signal?.aborted) this.end('left', signal.reason);
    else this.#signal = onAbort(signal, (reason) => this.end('left', reason));
    if (this.isOpen) this.#sink.open((error) => this.end('left', error));
  }

  /** Gives a slice; false if the subscriber is too far behind to be given more. */
  deliver(slice: Buffer, at: number): boolean {
    const lagBytes = this.lagBytes;
    if (lagBytes > this.#limits.maxLagBytes) return false;
    const isFirst = !this.isLive;
    this.#lagClock.give(slice.length, lagBytes, at);
    this.#lagTimer ??= this.#checkLagAfter(this.#limits.maxLagMs);
    this.#write(slice);
    if (isFirst) this.#live.resolve();
    return true;
  }

  /** The first cause wins. */
  end(reason: Reason, error?: unknown): void {
    if (this.#phase !== 'open') return;
    this.#phase = 'ending';
    this.#signal?.[Symbol.dispose]();
    this.#endSink(reason, error);
    this.#owner.left(this);
  }

  drop(bound: string): void {
    const error = new SubscriberLaggedError(this.#owner.name, this.lagBytes, bound);
    if (this.#phase === 'open') this.end('lagged', error);
    else this.#settle('lagged', error, () => this.#sink.drop(error));
    this.#owner.lagged(this, error);
  }

  /** It is more than `maxLagBytes` behind. */
  dropForBytes(): void {
    this.drop(`more than ${this.#limits.maxLagBytes} (maxLagBytes)`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end('left');
    await this.ended;
  }

  /** A destination that throws must not keep the slice from the others. */
  #write(slice: Buffer): void {
    try {
      this.#sink.write(slice);
    } catch (error) {
      this.end('left', error);
    }
  }

  #endSink(reason: Reason, error: unknown): void {
    if (reason === 'left') this.#settle(reason, error, () => this.#sink.release());
    else if (reason === 'lagged') this.#settle(reason, error, () => this.#sink.drop(error));
    else if (reason === 'source-failed') this.#settle(reason, error, () => this.#sink.fail(error));
    else this.#flush(reason, error);
  }

  /** The bound in time goes on: a destination that is blocked must not keep its bytes for ever. */
  #flush(reason: Reason, error: unknown): void {
    this.#lagTimer?.[Symbol.dispose]();
    this.#lagTimer = this.#checkLagAfter(this.#limits.maxLagMs);
    this.#sink.finish(() => this.#settle(reason, error));
  }

  #settle(reason: Reason, error: unknown, endSink?: () => void): void {
    if (this.#phase === 'ended') return;
    const { deliveredBytes } = this;
    this.#finalBytes = deliveredBytes;
    this.#phase = 'ended';
    this.#lagTimer?.[Symbol.dispose]();
    endSink?.();
    this.#live.reject(error ?? new ClosedError('the subscription'));
    this.#ended.resolve({ reason, deliveredBytes, skippedBytes: 0, ...(error !== undefined && { error }) });
  }

  #checkLagAfter(ms: number): Disposable {
    return after(ms, () => {
      this.#lagTimer = undefined;
      const { maxLagMs } = this.#limits;
      const { lagBytes } = this;
      const ageMs = this.#lagClock.age(lagBytes, now());
      if (lagBytes > 0 && ageMs < maxLagMs) this.#lagTimer = this.#checkLagAfter(maxLagMs - ageMs);
      else if (lagBytes > 0) this.drop(`the oldest for ${Math.round(ageMs)} ms`);
      else if (this.#phase === 'ending') this.drop(`and it has not finished within ${maxLagMs} ms`);
    });
  }
}
