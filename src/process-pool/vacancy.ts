import { onAbort } from '../internal/abort.ts';
import { after, now } from '../internal/time.ts';
import type { Patience } from './options.ts';

/** Tells how far a pool is from being empty. */
export interface Occupancy {
  isEmpty(): boolean;
  /** It will not be empty however long one waits. */
  isHopeless(): boolean;
  inUse(waitedMs: number): Error;
}

/** Those who wait for a pool to be empty; whatever may have made it so has them look. */
export class Vacancy {
  readonly #occupancy: Occupancy;
  readonly #waiting = new Set<() => void>();

  constructor(occupancy: Occupancy) {
    this.#occupancy = occupancy;
  }

  look(): void {
    for (const look of this.#waiting) look();
  }

  /** Rejects with `inUse` when it is hopeless or takes too long. */
  wait({ timeoutMs, signal }: Patience): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = now();
      const settle = (how: () => void) => {
        timer[Symbol.dispose]();
        listening[Symbol.dispose]();
        this.#waiting.delete(look);
        how();
      };
      const giveUp = () => settle(() => reject(this.#occupancy.inUse(now() - begin)));
      const look = () => {
        if (this.#occupancy.isEmpty()) settle(resolve);
        else if (this.#occupancy.isHopeless()) giveUp();
      };
      const timer = after(timeoutMs, giveUp);
      const listening = onAbort(signal, (why) => settle(() => reject(why)));
      this.#waiting.add(look);
      look();
    });
  }
}
