import { after, afterPoll, now } from '../internal/time.ts';
import { checkJoinPoint, type HubSettings } from './options.ts';
import { Preroll, stretchOf } from './preroll.ts';
import { adaptiveSliceMs, Slicer } from './slicer.ts';
import type { Cut, HubSubscription } from './subscription.ts';

/**
 * So many are written to in one turn of the event loop. That takes some milliseconds; between two of them who comes is
 * accepted, and other sources are read.
 */
const BATCH = 256;

/** A slice on its way to those who were there when it was cut. */
interface Delivery {
  readonly cut: Cut;
  readonly at: number;
  readonly unserved: HubSubscription[];
  readonly lagging: HubSubscription[];
}

/** Gives the bytes of a source, cut into slices, to every subscription: one write of the same buffer for each. */
export class Broadcast {
  readonly subscriptions: Set<HubSubscription> = new Set();
  readonly #settings: HubSettings;
  readonly #failed: (error: unknown) => void;
  #preroll: Preroll;
  #slicer: Slicer;
  /** Runs only while bytes are pending. */
  #timer: Disposable | undefined;
  /** From one chunk of the source to the next, if it is read in turns, else 0. */
  #turnMs = 0;
  #delivery: Delivery | undefined;
  /** Before its next batch. */
  #turn: Disposable | undefined;
  /** To write may call back, and then the source may give more, or end. */
  #isDelivering = false;
  #hasJoinPointFailed = false;
  #bytesIn = 0;
  #bytesOut = 0;
  #slices = 0;
  /** Bytes cut into slices so far. */
  #position = 0;

  /** @param failed is told that `joinPoint` is no use */
  constructor(settings: HubSettings, failed: (error: unknown) => void) {
    this.#settings = settings;
    this.#failed = failed;
    this.#preroll = this.#emptyPreroll();
    this.#slicer = new Slicer(settings.align);
  }

  get stats(): { bytesIn: number; bytesOut: number; slices: number } {
    return { bytesIn: this.#bytesIn, bytesOut: this.#bytesOut, slices: this.#slices };
  }

  get position(): number {
    return this.#position;
  }

  /** What was kept is given a moment later: so never in the midst of a slice for the others, nor while `pipe` is called. */
  add(subscription: HubSubscription): void {
    this.subscriptions.add(subscription);
    queueMicrotask(() => {
      const { joinable } = this.#preroll;
      if (!joinable) return;
      const given = subscription.join(joinable, this.#position, now());
      this.#bytesOut += given;
    });
  }

  /**
   * Of a source that is read in turns a slice is cut at the turn that is nearest to its time, when all of it was read; none
   * is cut while the last is on its way: where there is more to write than one core can, slices become fewer and larger.
   * Returns for how many milliseconds bytes may wait.
   */
  push(chunk: Buffer, turnMs: number): number {
    const at = now();
    this.#bytesIn += chunk.length;
    this.#turnMs = turnMs;
    this.#slicer.push(chunk, at);
    if (!this.#delivery) {
      const waitMs = this.#waitMs(at);
      if (waitMs <= 0 && turnMs === 0) this.#cut(at);
      else this.#cutIn(waitMs);
    }
    return this.#sliceMs;
  }

  /** The source is over: what is pending goes out as it is, and the next source starts aligned. */
  end(): void {
    const rest = this.#slicer.flush();
    this.#handOn(Infinity);
    if (rest.length > 0 && !this.#isDelivering) this.#deliver(rest, now());
    this.discard();
  }

  /** What was not cut yet, or is kept, is for nobody any more. */
  discard(): void {
    this.#handOn(Infinity);
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#slicer = new Slicer(this.#settings.align);
    this.#preroll = this.#emptyPreroll();
    this.#hasJoinPointFailed = false;
  }

  get #sliceMs(): number {
    return this.#settings.sliceMs ?? adaptiveSliceMs(this.subscriptions.size);
  }

  /** Until the next slice is due. */
  #waitMs(at: number): number {
    return this.#slicer.dueAt(this.#sliceMs) - at;
  }

  #cutIn(waitMs: number): void {
    const nearestMs = this.#turnMs / 2;
    if (waitMs <= nearestMs) {
      this.#timer?.[Symbol.dispose]();
      this.#timer = afterPoll(() => this.#cut(now()));
    } else if (waitMs < Infinity) this.#timer ??= after(waitMs + nearestMs, () => this.#cut(now()));
  }

  #cut(at: number): void {
    this.#deliver(this.#slicer.take(at), at);
  }

  /** Those who come while it is given do not get this slice. */
  #deliver(slice: Buffer, at: number): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#slices++;
    this.#position += slice.length;
    // The answer may close this source, and then nothing of it is kept.
    const preroll = this.#preroll;
    const joinable = preroll.push(slice, this.#joinPointOf(slice));
    const cut = { whole: stretchOf(slice), joinable, end: this.#position };
    this.#delivery = { cut, at, unserved: [...this.subscriptions], lagging: [] };
    this.#handOn(BATCH);
  }

  /**
   * Gives the slice to the next so many; of those that lag is told after the others have theirs. Whom that reaches may make
   * the source give more, so it is not over before.
   */
  #handOn(count: number): void {
    if (!this.#delivery || this.#isDelivering) return;
    const { cut, at, unserved, lagging } = this.#delivery;
    this.#turn?.[Symbol.dispose]();
    this.#isDelivering = true;
    try {
      for (const subscription of unserved.splice(0, count)) {
        const given = subscription.deliver(cut, at);
        if (given === undefined) lagging.push(subscription);
        else this.#bytesOut += given;
      }
      if (unserved.length === 0) for (const subscription of lagging) subscription.lagsInBytes();
    } finally {
      this.#isDelivering = false;
    }
    if (unserved.length > 0) {
      this.#turn = afterPoll(() => this.#handOn(BATCH));
      return;
    }
    this.#delivery = undefined;
    this.#cutIn(this.#waitMs(now()));
  }

  #emptyPreroll(): Preroll {
    const { prerollBytes, joinPoint } = this.#settings;
    return new Preroll(prerollBytes, joinPoint !== undefined);
  }

  #joinPointOf(slice: Buffer): number | undefined {
    if (this.#hasJoinPointFailed) return undefined;
    try {
      return checkJoinPoint(this.#settings.joinPoint?.(slice), slice.length);
    } catch (error) {
      this.#hasJoinPointFailed = true;
      // After this slice: the subscribers have it before they hear of it.
      queueMicrotask(() => this.#failed(error));
      return undefined;
    }
  }
}
