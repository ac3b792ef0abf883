import { isFault } from '../errors/faults.ts';
import { CircuitOpenError, ClosedError } from '../errors.ts';
import { abortable } from '../internal/abort.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import { createEmitter, type Emitter } from '../internal/events.ts';
import { checkKnown, checkPositive, checkSignal, show } from '../internal/options.ts';
import { now, wallClock } from '../internal/time.ts';
import {
  type Call,
  Circuit,
  type CircuitState,
  type Outcome,
  type Transition,
  type TransitionCause,
} from './circuit.ts';
import { type BreakerOptions, type CircuitBreakerOptions, resolveOptions } from './options.ts';
import { type CircuitSnapshot, readSnapshot, takeSnapshot } from './snapshot.ts';

/** The events of a breaker. On `node:diagnostics_channel` they are `holdfast:circuit-breaker:<event>`. */
export type CircuitBreakerEvents = {
  /** It changed its state. Time alone does that when somebody asks, not before. */
  transition: (from: CircuitState, to: CircuitState, cause: TransitionCause) => void;
  /** A call was not let through. */
  reject: (retryAfterMs: number) => void;
};

/** What a function that is run gets. */
export interface RunContext {
  /** Aborts when the caller of `run` does. */
  readonly signal: AbortSignal;
}

/**
 * The right to make one call. Say how it went, once; what comes later counts for nothing. One that is disposed of says
 * nothing. One that is dropped is a call that goes on: with `slowCallMs` it counts as a slow one, and half-open its place is
 * taken back at the latest after the cooldown.
 */
export interface Permit extends Disposable {
  succeed(): void;
  /** `isFailure` is asked about the error, if one is given. */
  fail(error?: unknown): void;
  /** The call was not made, or its caller gave up: it tells nothing about what is called. */
  cancel(): void;
}

const publish = diagnosticsOf('circuit-breaker');

/**
 * Keeps calls from what does not work at the moment. Most callers want `run`.
 *
 * Closed, it lets all calls through and counts: so many failures within a window open it, or a rate of failures or of slow
 * calls. Open, it refuses at once, for the cooldown. Then it is half-open: a few probes are let through. When they succeed
 * it closes; one that fails, or has not ended after the cooldown (1 s at least), opens it again.
 *
 * A result counts in the state in which its call began: what comes later is stale and dropped. There is no timer; what time
 * brings happens when somebody asks. It is known to nobody but its owner: keep one for each thing that can fail, in a `Map`
 * of your own, and `Symbol.dispose` takes it out of the metrics.
 *
 * The states are those of M. Nygard, “Release It!”; the generation that makes results stale is `sony/gobreaker`’s.
 *
 * It limits one process, and it does not end a call: that takes a signal.
 *
 * @example
 * const tuner = new CircuitBreaker({ name: 'tuner', failureThreshold: 3 });
 * const lineup = await tuner.run(({ signal }) => fetch(url, { signal }), { signal: AbortSignal.timeout(5_000) });
 */
export class CircuitBreaker implements Disposable {
  readonly name: string;
  readonly #options: BreakerOptions;
  readonly #circuit: Circuit;
  readonly #events: Emitter<CircuitBreakerEvents> = createEmitter();
  /** Those who keep it open by hand. */
  readonly #isolations = new Set<object>();
  /** What happened and is not told yet, what is being told first: a listener may do what makes it change again. */
  readonly #untold: Transition[] = [];
  #isClosed = false;

  constructor(options: CircuitBreakerOptions = {}) {
    this.#options = resolveOptions(options);
    this.name = this.#options.name;
    this.#circuit = new Circuit(this.#options.rules, (transition) => this.#tell(transition));
    publish('created', { breaker: this });
  }

  /**
   * One that goes on where another of the same options was when its snapshot was taken, be that in another process. The
   * monotonic clock does not survive that, so the wall clock tells how long ago it was: set back, no time has passed; set
   * forward, a probe is let through early.
   *
   * @throws TypeError if the snapshot is none, with what is wrong about it
   */
  static restore(snapshot: CircuitSnapshot, options: CircuitBreakerOptions = {}): CircuitBreaker {
    const { memory, agoMs } = readSnapshot(snapshot, wallClock());
    const breaker = new CircuitBreaker(options);
    if (memory.state === 'isolated') breaker.#isolations.add(memory);
    breaker.#circuit.restore(memory, agoMs, now());
    return breaker;
  }

  get state(): CircuitState {
    return this.#circuit.state(now());
  }

  /**
   * In how many milliseconds a call may be let through: 0 if one would be now, `Infinity` while it is isolated. Half-open
   * with all probes under way it is the longest until one of them has ended, which may open it again.
   */
  get retryAfterMs(): number {
    return this.#circuit.retryAfterMs(now());
  }

  /**
   * Calls `fn` if the circuit lets it through and counts how it went. What `fn` throws is passed on as it is.
   *
   * An abort rejects with the signal’s reason; `fn` goes on by itself unless it heeds the signal. It counts as nothing, unless
   * it is by `AbortSignal.timeout`: that the call takes too long is a failure like any other.
   *
   * @throws CircuitOpenError if it does not; `retryAfterMs` tells when it may
   * @throws ClosedError if the breaker was disposed of
   */
  run<T>(
    fn: (context: RunContext) => T | Promise<T>,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<T> {
    // An async function costs as much as all the rest.
    try {
      if (typeof fn !== 'function') throw new TypeError(`fn must be a function, received ${show(fn)}`);
      const signal = options === undefined ? undefined : resolveRun(options);
      return this.#call(fn, this.#enter(), signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #call<T>(fn: (context: RunContext) => T | Promise<T>, call: Call, signal: AbortSignal | undefined): Promise<T> {
    const succeeded = (result: T) => {
      this.#settle(call, 'success');
      return result;
    };
    const failed = (error: unknown): never => {
      if (signal?.aborted && !isFault(signal.reason)) this.#settle(call, 'cancelled');
      else this.#fail(call, error);
      throw error;
    };
    try {
      const result = fn(signal ? { signal } : new CallContext());
      return abortable(Promise.resolve(result), signal).then(succeeded, failed);
    } catch (error) {
      return failed(error);
    }
  }

  /**
   * Lets one call through, which the caller makes; `undefined` if the circuit does not, or the breaker was disposed of.
   *
   * @param options `timeoutMs`: how long the call may take as a probe; the cooldown, 1 s at least, unless it is given
   */
  tryEnter(options: { readonly timeoutMs?: number | undefined } = {}): Permit | undefined {
    checkKnown('tryEnter', options, ['timeoutMs']);
    const limitMs =
      options.timeoutMs === undefined
        ? undefined
        : checkPositive('timeoutMs', options.timeoutMs, Number.POSITIVE_INFINITY);
    if (this.#isClosed) return undefined;
    const call = this.#circuit.enter(now(), limitMs);
    if (!call) {
      this.#reject();
      return undefined;
    }
    const cancel = () => this.#settle(call, 'cancelled');
    return {
      succeed: () => this.#settle(call, 'success'),
      fail: (error) => this.#fail(call, error),
      cancel,
      [Symbol.dispose]: cancel,
    };
  }

  /** Whether a call would be let through now. It reserves nothing: half-open only `tryEnter` and `run` are sure of it. */
  canRun(): boolean {
    return !this.#isClosed && this.#circuit.canEnter(now());
  }

  /** Counts a success that no permit tells of; only while it is closed, since nobody knows when its call began. */
  recordSuccess(): void {
    this.#circuit.record('success', now());
  }

  /** Counts a failure that no permit tells of; only while it is closed, since nobody knows when its call began. */
  recordFailure(error?: unknown): void {
    const outcome = this.#outcomeOf(error);
    this.#circuit.record(outcome, now(), error);
  }

  /** Keeps it open until what it returns is disposed of; then it is closed. Of several the last one counts. */
  isolate(): Disposable {
    const isolation = {};
    this.#isolations.add(isolation);
    if (this.#isolations.size === 1) this.#circuit.isolate(now());
    return {
      [Symbol.dispose]: () => {
        if (this.#isolations.delete(isolation) && this.#isolations.size === 0) this.#circuit.close('released', now());
      },
    };
  }

  /** Closes it and forgets all that happened; also if it is isolated. */
  reset(): void {
    this.#isolations.clear();
    this.#circuit.close('reset', now());
  }

  /** What `CircuitBreaker.restore` needs, as plain JSON. One that is isolated is so again when it is restored, until `reset`. */
  snapshot(): CircuitSnapshot {
    return takeSnapshot(this.#circuit.snapshot(now()), wallClock());
  }

  on<E extends keyof CircuitBreakerEvents>(event: E, listener: CircuitBreakerEvents[E]): this {
    this.#events.on(event, listener);
    return this;
  }

  once<E extends keyof CircuitBreakerEvents>(event: E, listener: CircuitBreakerEvents[E]): this {
    this.#events.once(event, listener);
    return this;
  }

  off<E extends keyof CircuitBreakerEvents>(event: E, listener: CircuitBreakerEvents[E]): this {
    this.#events.off(event, listener);
    return this;
  }

  /** Lets no call through any more, and takes it out of the metrics. */
  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    publish('closed', { breaker: this });
  }

  #enter(): Call {
    if (this.#isClosed) throw new ClosedError(`the circuit breaker ${this.name}`, undefined, 'disposed of');
    const call = this.#circuit.enter(this.#circuit.timesCalls ? now() : 0);
    if (call) return call;
    throw new CircuitOpenError(this.name, this.#reject(), this.#circuit.lastFailure);
  }

  #reject(): number {
    const { retryAfterMs } = this;
    this.#events.emit('reject', retryAfterMs);
    publish('reject', { breaker: this, retryAfterMs });
    return retryAfterMs;
  }

  #fail(call: Call, error: unknown): void {
    // What decides about errors may be wrong itself, which is no word about the call.
    let outcome: Outcome = 'cancelled';
    try {
      outcome = this.#outcomeOf(error);
    } finally {
      this.#settle(call, outcome, error);
    }
  }

  #outcomeOf(error: unknown): 'success' | 'failure' {
    return this.#options.isFailure(error) ? 'failure' : 'success';
  }

  #settle(call: Call, outcome: Outcome, error?: unknown): void {
    const matters = outcome === 'failure' || this.#circuit.countsSuccesses;
    this.#circuit.settle(call, outcome, matters ? now() : 0, error);
  }

  #tell(transition: Transition): void {
    if (this.#untold.push(transition) > 1) return;
    for (let next = this.#untold[0]; next; next = this.#untold[0]) {
      const { from, to, cause, error } = next;
      this.#events.emit('transition', from, to, cause);
      publish('transition', { breaker: this, from, to, cause, error });
      this.#untold.shift();
    }
  }
}

function resolveRun(options: { readonly signal?: AbortSignal | undefined }): AbortSignal | undefined {
  checkKnown('run', options, ['signal']);
  const signal = checkSignal(options.signal);
  signal?.throwIfAborted();
  return signal;
}

/** Most functions ask for no signal, and to make one costs more than all the rest of a call. */
class CallContext implements RunContext {
  #signal: AbortSignal | undefined;

  get signal(): AbortSignal {
    this.#signal ??= new AbortController().signal;
    return this.#signal;
  }
}
