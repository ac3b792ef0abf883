/** A value's place in a queue. */
export interface Place<T> {
  readonly value: T;
}

interface Link<T> extends Place<T> {
  queue: LinkedQueue<T> | undefined;
  previous: Link<T> | undefined;
  next: Link<T> | undefined;
}

/** First in, first out, and out from anywhere: every operation takes constant time, however many wait. */
export class LinkedQueue<T> {
  #first: Link<T> | undefined;
  #last: Link<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#first?.value;
  }

  push(value: T): Place<T> {
    const link: Link<T> = { value, queue: this, previous: this.#last, next: undefined };
    if (this.#last) this.#last.next = link;
    else this.#first = link;
    this.#last = link;
    this.#size++;
    return link;
  }

  shift(): T | undefined {
    const first = this.#first;
    if (first) this.delete(first);
    return first?.value;
  }

  /** Returns whether it was in the queue. */
  delete(place: Place<T>): boolean {
    const link = place as Link<T>;
    if (link.queue !== this) return false;
    if (link.previous) link.previous.next = link.next;
    else this.#first = link.next;
    if (link.next) link.next.previous = link.previous;
    else this.#last = link.previous;
    link.queue = undefined;
    // A place that somebody keeps must not keep all that came after it.
    link.previous = undefined;
    link.next = undefined;
    this.#size--;
    return true;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let link = this.#first; link; link = link.next) yield link.value;
  }
}
