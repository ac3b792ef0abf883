import { LinkedQueue, type Place } from '../internal/linked-queue.ts';

/** Tokens that were asked for and are not there yet. */
export interface Claim {
  readonly count: number;
  /** Called once, when the tokens are there. Returns false if nobody wants them any more: then none are taken. */
  granted(): boolean;
}

export interface Limits {
  readonly capacity: number;
  readonly refillPerSecond: number;
  readonly initial: number;
}

/**
 * The state of a bucket as a function of `now`. Claims are granted in order, each when its tokens have come; until then no
 * one behind it gets any. What was taken is counted and what has come is computed from one instant, so that no rounding
 * adds up, and a claim's time does not depend on how often somebody looked.
 */
export class Ledger {
  readonly #capacity: number;
  readonly #refillPerSecond: number;
  readonly #claims = new LinkedQueue<Claim>();
  /** Tokens that claims in the queue wait for. */
  #claimed = 0;
  /** The tokens at an instant are what has come since `#origin` less what was `#taken` since. */
  #origin: number;
  #taken: number;
  /** The latest instant seen: a clock that is set back changes nothing. */
  #latest: number;

  constructor({ capacity, refillPerSecond, initial }: Limits, now: number) {
    this.#capacity = capacity;
    this.#refillPerSecond = refillPerSecond;
    this.#origin = now;
    this.#taken = -initial;
    this.#latest = now;
  }

  /** What can be taken at once. */
  available(now: number): number {
    this.advance(now);
    return this.#claims.size > 0 ? 0 : Math.max(0, this.#tokens()); // what is computed may be a trifle less than nothing
  }

  tryTake(count: number, now: number): boolean {
    this.advance(now);
    if (this.#claims.size > 0 || !this.#isDue(count)) return false;
    this.#taken += count;
    return true;
  }

  /** In how many milliseconds a claim made now would be granted. */
  delayOf(count: number, now: number): number {
    this.advance(now);
    return Math.max(0, this.#dueAt(this.#claimed + count) - this.#latest);
  }

  /** Joins the queue, also if the tokens are there: the next `advance` grants it. */
  claim(claim: Claim): Place<Claim> {
    this.#claimed += claim.count;
    return this.#claims.push(claim);
  }

  /**
   * Leaves the queue, and everyone behind moves up; a claim that was granted gives its tokens back. One that is due and that
   * nobody has looked at since leaves too: it is not granted while it is cancelled.
   */
  cancel(place: Place<Claim>, now: number): void {
    const { count } = place.value;
    if (this.#claims.delete(place)) this.#claimed -= count;
    else {
      this.advance(now);
      this.#taken -= count;
      this.#runOver();
    }
    this.advance(now);
  }

  /** Grants what is due, then lets go what is more than the capacity. */
  advance(now: number): void {
    this.#latest = Math.max(this.#latest, now);
    for (let claim = this.#claims.first; claim && this.#isDue(claim.count); claim = this.#claims.first) {
      this.#claims.shift();
      this.#claimed -= claim.count;
      if (claim.granted()) this.#taken += claim.count;
    }
    if (this.#claims.size === 0) this.#claimed = 0; // without what rounding has left
    this.#runOver();
  }

  /** Lets all claims go; none of them is granted any more. */
  clear(): void {
    while (this.#claims.shift());
    this.#claimed = 0;
  }

  #runOver(): void {
    if (this.#tokens() <= this.#capacity) return;
    this.#origin = this.#latest;
    this.#taken = -this.#capacity;
  }

  /** In how many milliseconds the first in the queue is granted, if there is one. */
  untilNext(now: number): number | undefined {
    const { first } = this.#claims;
    return first && Math.max(0, this.#dueAt(first.count) - Math.max(this.#latest, now));
  }

  #tokens(): number {
    return ((this.#latest - this.#origin) * this.#refillPerSecond) / 1_000 - this.#taken;
  }

  #isDue(count: number): boolean {
    return this.#latest >= this.#dueAt(count);
  }

  #dueAt(count: number): number {
    return this.#origin + ((this.#taken + count) * 1_000) / this.#refillPerSecond;
  }
}
