import type { LazyAbort } from '../internal/abort.ts';
import { LinkedQueue } from '../internal/linked-queue.ts';

/** The right to one process. */
export interface Slot {
  /** Gives it to the next who waits. The first call counts. */
  free(): void;
}

type Grant = (slot: Slot) => void;

interface Queue {
  readonly priority: number;
  readonly waiters: LinkedQueue<Grant>;
}

/** So many slots, and those who wait for one: the higher priority first, and the earlier within one. */
export class Slots {
  readonly max: number;
  #taken = 0;
  #waiting = 0;
  /** The highest priority first; none is empty. */
  readonly #queues: Queue[] = [];

  constructor(max: number) {
    this.max = max;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** A free one. Nobody waits while there is one: it is handed on. */
  tryTake(): Slot | undefined {
    if (this.#taken >= this.max) return undefined;
    this.#taken++;
    return this.#slot();
  }

  /** Resolves with a slot; an abort before that rejects, and takes none. */
  take(priority: number, givenUp: LazyAbort): Promise<Slot> {
    return new Promise((resolve, reject) => {
      const queue = this.#queueOf(priority);
      const place = queue.waiters.push((slot) => {
        listening[Symbol.dispose]();
        resolve(slot);
      });
      this.#waiting++;
      const listening = givenUp.onAbort((reason) => {
        queue.waiters.delete(place);
        this.#left(queue);
        reject(reason);
      });
    });
  }

  #slot(): Slot {
    let isFree = false;
    return {
      free: () => {
        if (isFree) return;
        isFree = true;
        this.#pass();
      },
    };
  }

  /** A slot that is given on is taken all the time: nobody can come between. */
  #pass(): void {
    const [queue] = this.#queues;
    const grant = queue?.waiters.shift();
    if (!queue || !grant) {
      this.#taken--;
      return;
    }
    this.#left(queue);
    grant(this.#slot());
  }

  #queueOf(priority: number): Queue {
    const index = this.#queues.findIndex((queue) => queue.priority <= priority);
    const found = this.#queues[index];
    if (found?.priority === priority) return found;
    const queue: Queue = { priority, waiters: new LinkedQueue<Grant>() };
    this.#queues.splice(index === -1 ? this.#queues.length : index, 0, queue);
    return queue;
  }

  #left(queue: Queue): void {
    this.#waiting--;
    if (queue.waiters.size === 0) this.#queues.splice(this.#queues.indexOf(queue), 1);
  }
}
