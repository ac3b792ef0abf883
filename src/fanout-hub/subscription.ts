import { ClosedError, SubscriberLaggedError } from '../errors.ts';
import { onAbort, preHandled } from '../internal/abort.ts';
import { after, now } from '../internal/time.ts';
import { LagClock } from './lag-clock.ts';
import type { OnLag } from './options.ts';
import type { Stretch } from './preroll.ts';
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
  /** Bytes of the source that it was not given since it began, because it lagged. */
  readonly skippedBytes: number;
  /** Always set if not a byte was given, unless the destination went away without an error or has no body. */
  readonly error?: unknown;
}

/** One subscriber of a hub. Disposing of it leaves the hub. */
export interface Subscription extends AsyncDisposable {
  /** Resolves when the first bytes are given; rejects with the error of `ended` otherwise. Needs no `catch`. */
  readonly live: Promise<void>;
  /**
   * Resolves when the subscription is over and what was given has been flushed; never rejects. Who leaves in the midst of
   * that cuts it short: the reason stays, and `deliveredBytes` tells how far it came.
   */
  readonly ended: Promise<SubscriptionEnd>;
  /** Bytes given that were not taken yet; what the kernel holds is not seen. */
  readonly lagBytes: number;
  /** Bytes taken so far. */
  readonly deliveredBytes: number;
  /** Bytes left out because it lagged; those of a gap are known when it goes on, or ends. */
  readonly skippedBytes: number;
}

/** The hub, as its subscriptions see it. */
export interface SubscriptionOwner {
  readonly name: string;
  /** Bytes of all sources that were cut into slices so far. */
  readonly position: number;
  /** It was not given so many bytes, because it skipped. */
  skipped(bytes: number): void;
  /** The subscription takes no more slices. */
  left(subscription: HubSubscription): void;
  /** It was dropped, or begins to skip. */
  lagged(subscription: HubSubscription, error: SubscriberLaggedError, onLag: OnLag): void;
}

export interface SubscriptionLimits {
  readonly maxLagBytes: number;
  readonly maxLagMs: number;
  readonly onLag: OnLag;
  /** How long it waits for a join point. */
  readonly maxWaitMs: number;
}

/** What came of the source. */
export interface Cut {
  readonly whole: Stretch;
  /** What one who may begin there is given, if one may. */
  readonly joinable: Stretch | undefined;
  /** Where it ends, in bytes of all sources. */
  readonly end: number;
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
  /** While open. `waiting` for a place to begin, `following` the source, or `skipping` what it lags too far behind to get. */
  #feed: 'waiting' | 'following' | 'skipping' = 'waiting';
  /** Where what it was given ends, in bytes of all sources. */
  #position = 0;
  #skippedBytes = 0;
  #isLive = false;
  #finalBytes: number | undefined;
  /** While something is being flushed: leaves that. */
  #leaveFlush: () => void = () => {};
  #lagTimer: Disposable | undefined;
  #signal: Disposable | undefined;
  /** Since when it waits for bytes that it may have. */
  #since = now();

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

  get skippedBytes(): number {
    return this.#skippedBytes;
  }

  get isOpen(): boolean {
    return this.#phase === 'open';
  }

  /** Whether it was given a byte. */
  get isLive(): boolean {
    return this.#isLive;
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

  /** Gives what is for it; tells how many bytes, or `undefined` if it is too far behind to be given more. */
  deliver({ whole, joinable, end }: Cut, at: number): number | undefined {
    // It may have joined meanwhile, and was given this then.
    if (!this.isOpen || end <= this.#position) return 0;
    const { lagBytes } = this;
    if (this.#feed !== 'following') return this.#begin(this.#bearable(joinable, whole, at), end, lagBytes, at);
    if (lagBytes > this.#limits.maxLagBytes) return undefined;
    return this.#give(whole, end, lagBytes, at);
  }

  /** Begins in the middle of a source, with what was kept of it; tells how many bytes it was given. */
  join(joinable: Stretch, end: number, at: number): number {
    const mayBegin = this.isOpen && this.#feed === 'waiting' && joinable.length <= this.#limits.maxLagBytes;
    return mayBegin ? this.#begin(joinable, end, 0, at) : 0;
  }

  /** The first cause wins; but who leaves does not wait for what is being flushed. */
  end(reason: Reason, error?: unknown): void {
    if (reason === 'left') this.#leaveFlush();
    if (this.#phase !== 'open') return;
    if (this.#feed === 'skipping') this.#missed(this.#owner.position);
    this.#phase = 'ending';
    this.#endSink(reason, error);
    this.#owner.left(this);
  }

  /** It is more than `maxLagBytes` behind, if it did not leave meanwhile, nor skips already. */
  lagsInBytes(): void {
    if (this.isOpen && this.#feed === 'following') this.#lags(`more than ${this.#limits.maxLagBytes} (maxLagBytes)`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end('left');
    await this.ended;
  }

  /** Who skips may be as slow as it is, but not take nothing for ever. */
  #lags(bound: string): void {
    const { onLag, maxLagMs } = this.#limits;
    const idleMs = this.#lagClock.idle(this.lagBytes, now());
    if (onLag === 'disconnect' || !this.isOpen) this.#drop(bound);
    else if (idleMs >= maxLagMs) this.#drop(`and it has taken none for ${Math.round(idleMs)} ms`);
    else this.#skip(bound, maxLagMs - idleMs);
  }

  #drop(bound: string): void {
    const error = new SubscriberLaggedError(this.#owner.name, this.lagBytes, bound);
    if (this.#phase === 'open') this.end('lagged', error);
    else this.#settle('lagged', error, () => this.#sink.drop(error));
    this.#owner.lagged(this, error, 'disconnect');
  }

  #skip(bound: string, patienceMs: number): void {
    const error = new SubscriberLaggedError(this.#owner.name, this.lagBytes, bound);
    const discarded = this.#sink.discard();
    this.#lagClock.retract(discarded);
    this.#position -= discarded;
    this.#feed = 'skipping';
    this.#since = now();
    this.#watchLag(patienceMs);
    this.#owner.lagged(this, error, 'skip');
  }

  /** Where it may begin or go on: not with so much that it lags at once, and after a long wait at any place. */
  #bearable(joinable: Stretch | undefined, whole: Stretch, at: number): Stretch | undefined {
    const isBearable = joinable && (joinable.slices.length === 1 || joinable.length <= this.#limits.maxLagBytes);
    if (isBearable) return joinable;
    return at - this.#since >= this.#limits.maxWaitMs ? whole : undefined;
  }

  /** Who skips has to have taken everything before it goes on, and gets nothing twice. Tells how many bytes it was given. */
  #begin(stretch: Stretch | undefined, end: number, lagBytes: number, at: number): number {
    const isSkipping = this.#feed === 'skipping';
    if (isSkipping && lagBytes > 0) this.#since = at;
    if (!stretch || lagBytes > 0) return 0;
    const begin = end - stretch.length;
    if (isSkipping && begin < this.#position) return 0;
    if (isSkipping) this.#missed(begin);
    this.#feed = 'following';
    return this.#give(stretch, end, lagBytes, at);
  }

  /** It goes on, or ends, at this position. */
  #missed(position: number): void {
    const bytes = position - this.#position;
    this.#skippedBytes += bytes;
    this.#owner.skipped(bytes);
  }

  #give({ slices, length }: Stretch, end: number, lagBytes: number, at: number): number {
    this.#position = end;
    if (!this.#isLive) this.#goLive();
    this.#lagClock.give(length, lagBytes, at);
    this.#lagTimer ??= this.#checkLagAfter(this.#limits.maxLagMs);
    this.#sink.write(slices);
    return length;
  }

  #goLive(): void {
    this.#isLive = true;
    this.#live.resolve();
  }

  #endSink(reason: Reason, error: unknown): void {
    if (reason === 'left') this.#settle(reason, error, () => this.#sink.release());
    else if (reason === 'lagged') this.#settle(reason, error, () => this.#sink.drop(error));
    else if (reason === 'source-failed') this.#settle(reason, error, () => this.#sink.fail(error));
    else this.#flush(reason, error);
  }

  /** The bound in time goes on: a destination that is blocked must not keep its bytes for ever. */
  #flush(reason: Reason, error: unknown): void {
    this.#watchLag(this.#limits.maxLagMs);
    this.#leaveFlush = () => this.#settle(reason, error, () => this.#sink.release());
    this.#sink.finish(() => this.#settle(reason, error));
  }

  #settle(reason: Reason, error: unknown, endSink?: () => void): void {
    if (this.#phase === 'ended') return;
    const { deliveredBytes, skippedBytes } = this;
    this.#finalBytes = deliveredBytes;
    this.#phase = 'ended';
    this.#lagTimer?.[Symbol.dispose]();
    this.#signal?.[Symbol.dispose]();
    endSink?.();
    this.#live.reject(error ?? new ClosedError('the subscription'));
    this.#ended.resolve({ reason, deliveredBytes, skippedBytes, ...(error !== undefined && { error }) });
  }

  #watchLag(ms: number): void {
    this.#lagTimer?.[Symbol.dispose]();
    this.#lagTimer = this.#checkLagAfter(ms);
  }

  #checkLagAfter(ms: number): Disposable {
    return after(ms, () => {
      this.#lagTimer = undefined;
      const { maxLagMs } = this.#limits;
      const { lagBytes } = this;
      const ageMs = this.#ageOf(lagBytes, now());
      if (lagBytes > 0 && ageMs < maxLagMs) this.#lagTimer = this.#checkLagAfter(maxLagMs - ageMs);
      else if (lagBytes > 0) this.#lags(`the oldest for ${Math.round(ageMs)} ms`);
      else if (this.#phase === 'ending') this.#drop(`and it has not finished within ${maxLagMs} ms`);
    });
  }

  /** What waits for one who skips already can't be taken back: there it counts only that it moves. */
  #ageOf(lagBytes: number, at: number): number {
    const isSkipping = this.isOpen && this.#feed === 'skipping';
    return isSkipping ? this.#lagClock.idle(lagBytes, at) : this.#lagClock.age(lagBytes, at);
  }
}
