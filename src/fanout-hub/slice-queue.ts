import { Backlog } from './backlog.ts';
import type { Sink } from './sink.ts';

/** Queues slices for one consumer that takes them with `for await`. */
export class SliceQueue implements Sink, AsyncIterableIterator<Buffer> {
  readonly #backlog = new Backlog();
  readonly #wake: (() => void)[] = [];
  #iterated = false;
  #onGone: () => void = () => {};
  #onDrained: () => void = () => {};
  /** Set when no more slices come; the error is thrown after the last queued slice. */
  #end: { readonly error?: unknown } | undefined;

  get lagBytes(): number {
    return this.#backlog.bytes;
  }

  open(onGone: () => void): void {
    this.#onGone = onGone;
  }

  write(slices: readonly Buffer[]): void {
    for (const slice of slices) this.#backlog.push(slice);
    this.#wakeAll();
  }

  discard(): number {
    return this.#backlog.clear();
  }

  finish(done: () => void): void {
    this.#onDrained = done;
    this.#close({});
    if (this.lagBytes === 0) done();
  }

  fail(error: unknown): void {
    this.#close({ error });
  }

  drop(error: unknown): void {
    this.#backlog.clear();
    this.#end = undefined;
    this.#close({ error });
  }

  release(): void {
    this.#backlog.clear();
    this.#close({});
  }

  [Symbol.asyncIterator](): this {
    if (this.#iterated) throw new TypeError('a subscription has one consumer; subscribe() once for each');
    this.#iterated = true;
    return this;
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    for (;;) {
      const slice = this.#backlog.shift();
      if (slice) return { done: false, value: this.#taken(slice) };
      if (this.#end) return this.#finished(this.#end);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  async return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#onGone();
    this.#onDrained();
    this.#backlog.clear();
    this.#end = {};
    this.#wakeAll();
    return { done: true, value: undefined };
  }

  #taken(slice: Buffer): Buffer {
    if (this.lagBytes === 0 && this.#end) this.#onDrained();
    return slice;
  }

  /** An error is thrown once; after it the iteration is over. */
  #finished(end: { readonly error?: unknown }): IteratorResult<Buffer, undefined> {
    this.#end = {};
    if ('error' in end) throw end.error;
    return { done: true, value: undefined };
  }

  #close(end: { readonly error?: unknown }): void {
    this.#end ??= end;
    this.#wakeAll();
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
