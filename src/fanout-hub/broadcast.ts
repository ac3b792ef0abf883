import { after, now } from '../internal/time.ts';
import { adaptiveSliceMs, Slicer } from './slicer.ts';
import type { HubSubscription } from './subscription.ts';

/** Gives the bytes of a source, cut into slices, to every subscription: one write of the same buffer for each. */
export class Broadcast {
  readonly subscriptions: Set<HubSubscription> = new Set();
  readonly #align: number;
  readonly #sliceMs: number | undefined;
  #slicer: Slicer;
  /** Runs only while bytes are pending. */
  #timer: Disposable | undefined;
  #bytesIn = 0;
  #bytesOut = 0;
  #slices = 0;

  constructor(align: number, sliceMs: number | undefined) {
    this.#align = align;
    this.#sliceMs = sliceMs;
    this.#slicer = new Slicer(align);
  }

  get stats(): { bytesIn: number; bytesOut: number; slices: number } {
    return { bytesIn: this.#bytesIn, bytesOut: this.#bytesOut, slices: this.#slices };
  }

  push(chunk: Buffer): void {
    const at = now();
    this.#bytesIn += chunk.length;
    this.#slicer.push(chunk, at);
    const dueAt = this.#slicer.dueAt(this.#sliceMs ?? adaptiveSliceMs(this.subscriptions.size));
    if (dueAt <= at) this.#deliver(this.#slicer.take(), at);
    else if (dueAt < Infinity) this.#timer ??= after(dueAt - at, () => this.#deliver(this.#slicer.take(), now()));
  }

  /** The source is over: what is pending goes out as it is, and the next source starts aligned. */
  end(): void {
    const rest = this.#slicer.flush();
    if (rest.length > 0) this.#deliver(rest, now());
    this.discard();
  }

  /** What is pending is for nobody any more. */
  discard(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#slicer = new Slicer(this.#align);
  }

  /** Those that lag are dropped after the others have theirs, as a drop calls back. */
  #deliver(slice: Buffer, at: number): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#slices++;
    const lagging: HubSubscription[] = [];
    for (const subscription of this.subscriptions) {
      if (subscription.deliver(slice, at)) this.#bytesOut += slice.length;
      else lagging.push(subscription);
    }
    for (const subscription of lagging) subscription.dropForBytes();
  }
}
