import { LinkedQueue } from '../internal/linked-queue.ts';
import type { TripRules } from './options.ts';
import { type Counts, OutcomeWindow } from './outcome-window.ts';

/** Which rule opened the circuit. */
export type TripCause = 'failures' | 'failure-rate' | 'slow-calls';

/** What a log knows, the oldest first. */
export interface CallLogSnapshot {
  readonly failureAgesMs: readonly number[];
  readonly outcomes: readonly (Counts & { readonly ageMs: number })[];
}

/** What happened in the last `windowMs` while the circuit was closed, as far as a rule asks for it. */
export class CallLog {
  readonly #rules: TripRules;
  /** The last failures, as many as trip, the oldest first: so this rule's window slides exactly, whatever its length. */
  readonly #failures = new LinkedQueue<number>();
  readonly #outcomes: OutcomeWindow | undefined;

  constructor(rules: TripRules) {
    this.#rules = rules;
    if (rules.countsCalls) this.#outcomes = new OutcomeWindow(rules.windowMs);
  }

  /** @param at when it happened, if that was before now */
  add(counts: Counts, now: number, at: number = now): void {
    this.#outcomes?.add(counts, now, at);
    if (counts.failures > 0) this.#addFailure(now);
  }

  #addFailure(now: number): void {
    const { failureThreshold } = this.#rules;
    if (failureThreshold === Number.POSITIVE_INFINITY) return;
    this.#failures.push(now);
    const isOver = (oldest = now) => this.#failures.size > failureThreshold || !this.#isWithin(oldest, now);
    while (isOver(this.#failures.first)) this.#failures.shift();
  }

  /** Whether what happened then still counts. */
  remembers(at: number, now: number): boolean {
    return this.#outcomes?.remembers(at, now) ?? false;
  }

  /** Whether the circuit has to open, and by which rule. */
  verdict(now: number): TripCause | undefined {
    const { failureThreshold, failureRate, slowCallRate, minimumCalls, minimumFailureCalls } = this.#rules;
    const counts = this.#outcomes?.counts(now);
    const calls = counts?.calls ?? 0;
    const areTooMany = this.#failures.size === failureThreshold && this.#isWithin(this.#failures.first as number, now);
    if (areTooMany && calls >= minimumFailureCalls) return 'failures';
    if (!counts || calls < minimumCalls) return undefined;
    if (counts.failures / calls >= failureRate) return 'failure-rate';
    return counts.slow / calls >= slowCallRate ? 'slow-calls' : undefined;
  }

  /** For `CallLog.restore`, in another process: the monotonic clock starts anew there, so ages are kept. */
  snapshot(now: number): CallLogSnapshot {
    const outcomes = [...(this.#outcomes?.ages(now) ?? [])].map(([ageMs, counts]) => ({ ageMs, ...counts }));
    const failures = [...this.#failures].filter((instant) => this.#isWithin(instant, now));
    return { failureAgesMs: failures.map((instant) => now - instant), outcomes };
  }

  static restore(rules: TripRules, { failureAgesMs, outcomes }: CallLogSnapshot, now: number): CallLog {
    const log = new CallLog(rules);
    for (const ageMs of failureAgesMs.toSorted(descending)) log.#addFailure(now - ageMs);
    for (const { ageMs, ...counts } of outcomes.toSorted((a, b) => descending(a.ageMs, b.ageMs)))
      log.#outcomes?.add(counts, now, now - ageMs);
    return log;
  }

  #isWithin(instant: number, now: number): boolean {
    return now - instant < this.#rules.windowMs;
  }
}

function descending(a: number, b: number): number {
  return b - a;
}
