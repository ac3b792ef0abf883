import { LinkedQueue, type Place } from '../internal/linked-queue.ts';
import { CallLog, type CallLogSnapshot, type TripCause } from './call-log.ts';
import type { CircuitRules } from './options.ts';
import type { Counts } from './outcome-window.ts';

export type CircuitState = 'closed' | 'open' | 'half-open';

/** Why a circuit went from one state to another. */
export type TransitionCause =
  | TripCause
  | 'probe-failed'
  | 'probe-slow'
  | 'probe-expired'
  | 'cooldown-over'
  | 'probes-succeeded'
  | 'isolated'
  | 'released'
  | 'reset';

export type Outcome = 'success' | 'failure' | 'cancelled';

/** Each carries what only it needs. A result belongs to the very object in which its call began, or is stale. */
type State =
  | { readonly name: 'closed'; readonly log: CallLog; readonly calls: LinkedQueue<Call> }
  /** `until` is infinite while it is isolated. */
  | { readonly name: 'open'; readonly openings: number; readonly cooldownMs: number; readonly until: number }
  | HalfOpen;

interface HalfOpen {
  readonly name: 'half-open';
  readonly openings: number;
  readonly probeLimitMs: number;
  readonly calls: LinkedQueue<Call>;
  succeeded: number;
}

/** A probe has as long as the cooldown was, and at least so long. */
const PROBE_MS = 1_000;

/** A call that was let through. */
export interface Call {
  readonly state: State;
  readonly startedAt: number;
  /** Half-open it has failed by then. */
  readonly expiresAt: number;
  /** In the state's queue, the oldest first, where its time matters. */
  place?: Place<Call> | undefined;
  isSettled: boolean;
}

export interface Transition {
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly cause: TransitionCause;
  /** The failure that was the last to count, if it was one. */
  readonly error: unknown;
}

function nextExpiry({ calls }: HalfOpen): number {
  return Math.min(...[...calls].map(({ expiresAt }) => expiresAt));
}

function isolated(): State {
  return { name: 'open', openings: 0, cooldownMs: 0, until: Number.POSITIVE_INFINITY };
}

/** What a circuit knows, without any instant: the clock of another process begins elsewhere. */
export interface CircuitMemory {
  /** Half-open is kept as open with nothing left of its cooldown. */
  readonly state: 'closed' | 'open' | 'isolated';
  readonly openings: number;
  readonly remainingMs: number;
  readonly log: CallLogSnapshot;
}

const EMPTY: CallLogSnapshot = { failureAgesMs: [], outcomes: [] };

/** The state of a breaker as a function of `now`. What time brings is looked up when something is asked; there is no timer. */
export class Circuit {
  readonly #rules: CircuitRules;
  readonly #onTransition: (transition: Transition) => void;
  /** What it was opened by, if that was a failure; while it is closed nothing. */
  lastFailure: unknown;
  #state: State;

  constructor(rules: CircuitRules, onTransition: (transition: Transition) => void) {
    this.#rules = rules;
    this.#onTransition = onTransition;
    this.#state = this.#closed();
  }

  state(now: number): CircuitState {
    return this.#at(now).name;
  }

  /** Whether it matters when a call begins. Else `enter` needs no instant, and to read the clock costs as much as the rest. */
  get timesCalls(): boolean {
    return this.#state.name !== 'closed' || this.#rules.slowCallMs !== Number.POSITIVE_INFINITY;
  }

  /** Whether a success tells anything. Else `settle` needs an instant for a failure alone. */
  get countsSuccesses(): boolean {
    return this.#state.name !== 'closed' || this.#rules.countsCalls;
  }

  /** Whether a call would be let through; takes nothing. */
  canEnter(now: number): boolean {
    const state = this.#at(now);
    return state.name === 'closed' || (state.name === 'half-open' && this.#hasRoom(state));
  }

  /** In how many milliseconds one may be let through: at the latest, where that depends on a probe. */
  retryAfterMs(now: number): number {
    const state = this.#at(now);
    if (state.name === 'open') return state.until - now;
    if (state.name === 'closed' || this.#hasRoom(state)) return 0;
    return nextExpiry(state) - now;
  }

  /**
   * Lets a call through, or not.
   *
   * @param limitMs how long it may take as a probe
   */
  enter(now: number, limitMs?: number): Call | undefined {
    const state = this.#at(now);
    if (state.name === 'open' || (state.name === 'half-open' && !this.#hasRoom(state))) return undefined;
    const expiresAt = state.name === 'half-open' ? now + (limitMs ?? state.probeLimitMs) : Number.POSITIVE_INFINITY;
    const call: Call = { state, startedAt: now, expiresAt, isSettled: false };
    if (state.name === 'half-open' || this.#rules.slowCallMs !== Number.POSITIVE_INFINITY) {
      call.place = state.calls.push(call);
    }
    return call;
  }

  /** Takes the result of a call, the first only; one that belongs to an earlier state counts for nothing. */
  settle(call: Call, outcome: Outcome, now: number, error?: unknown): void {
    if (call.isSettled) return;
    call.isSettled = true;
    if (outcome !== 'failure' && !this.countsSuccesses) return;
    const state = this.#at(now);
    if (call.state !== state || state.name === 'open') return;
    const hasLeft = call.place !== undefined && !state.calls.delete(call.place);
    if (outcome === 'cancelled') return;
    const isSlow = now - call.startedAt >= this.#rules.slowCallMs;
    if (state.name === 'half-open') this.#settleProbe(state, outcome, isSlow, now, error);
    else {
      // One that was slow before it ended was counted when it became so, which may have been forgotten since.
      const wasCounted = hasLeft && state.log.remembers(this.#slowAt(call), now);
      const [calls, slow] = wasCounted ? [0, 0] : [1, Number(isSlow)];
      this.#count(state.log, { calls, failures: Number(outcome === 'failure'), slow }, now, error);
    }
  }

  /** Takes a result that belongs to no call; it counts while the circuit is closed. */
  record(outcome: 'success' | 'failure', now: number, error?: unknown): void {
    const state = this.#at(now);
    if (state.name !== 'closed') return;
    this.#count(state.log, { calls: 1, failures: Number(outcome === 'failure'), slow: 0 }, now, error);
  }

  isolate(now: number): void {
    this.#at(now);
    this.lastFailure = undefined;
    this.#transition(isolated(), 'isolated');
  }

  close(cause: 'released' | 'reset', now: number): void {
    this.#at(now);
    this.#transition(this.#closed(), cause);
  }

  /** The time that has passed is left to `restore`, which is told of it. */
  snapshot(now: number): CircuitMemory {
    const state = this.#at(now);
    if (state.name === 'closed') return { state: 'closed', openings: 0, remainingMs: 0, log: state.log.snapshot(now) };
    const remainingMs = state.name === 'open' ? state.until - now : 0;
    if (remainingMs === Number.POSITIVE_INFINITY) return { state: 'isolated', openings: 0, remainingMs: 0, log: EMPTY };
    return { state: 'open', openings: state.openings, remainingMs, log: EMPTY };
  }

  /** @param agoMs how long ago the snapshot was taken */
  restore({ state, openings, remainingMs, log }: CircuitMemory, agoMs: number, now: number): void {
    const cooldownMs = state === 'open' ? this.#rules.cooldownMs(openings) : 0;
    if (state === 'closed') this.#state = this.#closed(CallLog.restore(this.#rules, log, now - agoMs));
    else if (state === 'isolated') this.#state = isolated();
    else this.#state = { name: 'open', openings, cooldownMs, until: now - agoMs + remainingMs };
  }

  #closed(log: CallLog = new CallLog(this.#rules)): State {
    return { name: 'closed', log, calls: new LinkedQueue() };
  }

  #hasRoom(state: HalfOpen): boolean {
    return state.calls.size + state.succeeded < this.#rules.halfOpenProbes;
  }

  /** The state at an instant, after all that time has brought. */
  #at(now: number): State {
    for (let state = this.#state; ; state = this.#state) {
      this.#advance(state, now);
      if (this.#state === state) return state;
    }
  }

  #advance(state: State, now: number): void {
    if (state.name === 'closed') this.#countSlow(state.log, state.calls, now);
    else if (state.name === 'open') {
      if (now >= state.until) this.#probe(state.openings, state.cooldownMs);
    } else {
      const expiry = nextExpiry(state);
      if (now >= expiry) this.#open(state.openings + 1, 'probe-expired', expiry);
    }
  }

  /** A call that runs for long is slow before it ends. */
  #countSlow(log: CallLog, calls: LinkedQueue<Call>, now: number): void {
    const isSlow = (call: Call | undefined) => call && now - call.startedAt >= this.#rules.slowCallMs;
    if (!isSlow(calls.first)) return;
    for (let call = calls.first; call && isSlow(call); call = calls.first) {
      log.add({ calls: 1, failures: 0, slow: 1 }, now, this.#slowAt(call));
      calls.shift();
    }
    this.#judge(log, now);
  }

  #slowAt({ startedAt }: Call): number {
    return startedAt + this.#rules.slowCallMs;
  }

  #count(log: CallLog, counts: Counts, now: number, error?: unknown): void {
    log.add(counts, now);
    this.#judge(log, now, error);
  }

  #judge(log: CallLog, now: number, error?: unknown): void {
    const cause = log.verdict(now);
    if (cause) this.#open(1, cause, now, error);
  }

  #settleProbe(state: HalfOpen, outcome: 'success' | 'failure', isSlow: boolean, now: number, error: unknown): void {
    if (outcome === 'failure') this.#open(state.openings + 1, 'probe-failed', now, error);
    else if (isSlow) this.#open(state.openings + 1, 'probe-slow', now);
    else if (++state.succeeded === this.#rules.halfOpenProbes) this.#transition(this.#closed(), 'probes-succeeded');
  }

  #open(openings: number, cause: TransitionCause, since: number, error?: unknown): void {
    const cooldownMs = this.#rules.cooldownMs(openings);
    this.lastFailure = error;
    this.#transition({ name: 'open', openings, cooldownMs, until: since + cooldownMs }, cause, error);
  }

  #probe(openings: number, cooldownMs: number): void {
    const probeLimitMs = Math.max(cooldownMs, PROBE_MS);
    this.#transition(
      { name: 'half-open', openings, probeLimitMs, calls: new LinkedQueue(), succeeded: 0 },
      'cooldown-over',
    );
  }

  #transition(to: State, cause: TransitionCause, error?: unknown): void {
    const from = this.#state.name;
    this.#state = to;
    if (to.name === 'closed') this.lastFailure = undefined;
    // A closed one that is reset has only forgotten.
    if (from !== 'closed' || to.name !== 'closed') this.#onTransition({ from, to: to.name, cause, error });
  }
}
