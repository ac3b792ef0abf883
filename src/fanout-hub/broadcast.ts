import { after, afterPoll, now } from '../internal/time.ts';
import { checkJoinPoint, type HubSettings } from './options.ts';
import { Preroll, stretchOf } from './preroll.ts';
import { adaptiveSliceMs, Slicer } from './slicer.ts';
import type { HubSubscription } from './subscription.ts';

/** Gives the bytes of a source, cut into slices, to every subscription: one write of the same buffer for each. */
export class Broadcast {
  readonly subscriptions: Set<HubSubscription> = new Set();
  readonly #settings: HubSettings;
  readonly #failed: (error: unknown) => void;
  #preroll: Preroll;
  #slicer: Slicer;
  /** Runs only while bytes are pending. */
  #timer: Disposable | undefined;
  /** To write may call back, and then the source may give more, or end. */
  #isDelivering = false;
  /** `joinPoint` failed for this source. */
  #isUseless = false;
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
      if (joinable) this.#bytesOut += subscription.join(joinable, this.#position, now());
    });
  }

  /**
   * Of a source that is read in turns a slice is cut at the turn that is nearest to its time, when all of it was read.
   * Returns for how many milliseconds bytes may wait.
   */
  push(chunk: Buffer, turnMs: number): number {
    const at = now();
    const sliceMs = this.#settings.sliceMs ?? adaptiveSliceMs(this.subscriptions.size);
    this.#bytesIn += chunk.length;
    this.#slicer.push(chunk, at);
    const waitMs = this.#slicer.dueAt(sliceMs) - at;
    if (waitMs <= 0 && turnMs === 0 && !this.#isDelivering) this.#cut(at);
    else if (waitMs <= turnMs / 2) this.#cutAfterPoll();
    else if (waitMs < Infinity) this.#timer ??= after(waitMs + turnMs / 2, () => this.#cut(now()));
    return sliceMs;
  }

  /** The source is over: what is pending goes out as it is, and the next source starts aligned. */
  end(): void {
    const rest = this.#slicer.flush();
    if (rest.length > 0 && !this.#isDelivering) this.#deliver(rest, now());
    this.discard();
  }

  /** What is pending or kept is for nobody any more. */
  discard(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#slicer = new Slicer(this.#settings.align);
    this.#preroll = this.#emptyPreroll();
    this.#isUseless = false;
  }

  #cutAfterPoll(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = afterPoll(() => this.#cut(now()));
  }

  #cut(at: number): void {
    this.#deliver(this.#slicer.take(at), at);
  }

  /** Who comes while it is given does not get this slice, and of those that lag is told after the others have theirs. */
  #deliver(slice: Buffer, at: number): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#slices++;
    this.#position += slice.length;
    // The answer may close this source, and then nothing of it is kept.
    const preroll = this.#preroll;
    const joinable = preroll.push(slice, this.#joinPointOf(slice));
    const cut = { whole: stretchOf(slice), joinable, end: this.#position };
    this.#isDelivering = true;
    const lagging: HubSubscription[] = [];
    try {
      for (const subscription of [...this.subscriptions]) {
        const given = subscription.deliver(cut, at);
        if (given === undefined) lagging.push(subscription);
        else this.#bytesOut += given;
      }
    } finally {
      this.#isDelivering = false;
    }
    for (const subscription of lagging) subscription.lagsInBytes();
  }

  #emptyPreroll(): Preroll {
    const { prerollBytes, joinPoint } = this.#settings;
    return new Preroll(prerollBytes, joinPoint !== undefined);
  }

  #joinPointOf(slice: Buffer): number | undefined {
    if (this.#isUseless) return undefined;
    try {
      return checkJoinPoint(this.#settings.joinPoint?.(slice), slice.length);
    } catch (error) {
      this.#isUseless = true;
      // After this slice: the subscribers have it before they hear of it.
      queueMicrotask(() => this.#failed(error));
      return undefined;
    }
  }
}
