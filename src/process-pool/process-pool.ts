import { ClosedError, PoolInUseError, SpawnTimeoutError, WaiterLimitError } from '../errors.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import { createEmitter, type Emitter } from '../internal/events.ts';
import { checkKnown, show } from '../internal/options.ts';
import { now, sleep } from '../internal/time.ts';
import { admit } from './admission.ts';
import { Children } from './children.ts';
import type { PoolStats, ProcessPoolEvents } from './events.ts';
import { Flight } from './flight.ts';
import { Lease, type PooledChild, type ProcessLease, stackOf } from './lease.ts';
import { Leases } from './leases.ts';
import {
  type AcquireOptions,
  type DrainOptions,
  type PoolPolicy,
  type ProcessPoolOptions,
  resolveAcquire,
  resolveDrain,
  resolveOptions,
} from './options.ts';
import { isRetryable, retrying } from './retries.ts';
import { type Slot, Slots } from './slots.ts';
import { type Spawn, start } from './start.ts';
import { Vacancy } from './vacancy.ts';

const publish = diagnosticsOf('process-pool');

/**
 * A bounded number of processes: so many at a time, started no faster than a rate, and only while there is room for them.
 * Most callers want `acquire`.
 *
 * An acquire waits for a slot, which is no attempt; then it starts a process, and tries again with growing pauses if that
 * took too long or failed with `retryable`. A slot is taken before a process is started and free when the process, with all
 * that it started, is verified gone: also if the start fails or comes too late, if its caller has left, if the child dies by
 * itself. What can not be ended holds its slot.
 *
 * It bounds one Node process; what others start it does not know.
 *
 * @example
 * const pool = new ProcessPool({ max: 8, admission: [minFreeMemory({ fraction: 0.1 })] });
 * await using lease = await pool.acquire(({ signal }) => ManagedChild.spawn('ffmpeg', args, { signal }));
 */
export class ProcessPool implements AsyncDisposable {
  readonly #policy: PoolPolicy;
  readonly #slots: Slots;
  readonly #events: Emitter<ProcessPoolEvents> = createEmitter();
  readonly #leases: Leases;
  readonly #flights = new Set<Flight<PooledChild>>();
  readonly #flightsByKey = new Map<string, Flight<PooledChild>>();
  readonly #children: Children = new Children((error) => this.#failed(error));
  /** All who wait for a lease, and how many flights have a slot for their first one. */
  #callers = 0;
  #startingFlights = 0;
  #backingOff = 0;
  /** Starts that were given up and have not settled. */
  #overdue = 0;
  #state: 'open' | 'draining' | 'closed' = 'open';
  /** Closed, and all of it is gone. */
  #isGone = false;
  readonly #vacancy: Vacancy = new Vacancy({
    isEmpty: () => this.#isEmpty,
    isHopeless: () =>
      this.#state === 'closed' && this.#children.stuck > 0 && this.#children.stuck === this.#slots.taken,
    inUse: (waitedMs) => new PoolInUseError(this.stats(), waitedMs),
  });

  get #isEmpty(): boolean {
    return this.#slots.taken === 0 && this.#flights.size === 0;
  }

  constructor(options: ProcessPoolOptions) {
    this.#policy = resolveOptions(options);
    this.#slots = new Slots(this.#policy.max);
    this.#leases = new Leases(this.#policy.leakAfterMs, (lease) => this.#leaks(lease));
    publish('created', { pool: this });
  }

  /**
   * Starts a process as soon as there is a slot for it, and leases it to the caller.
   *
   * Safe to cancel: what was granted to one that has left goes to the next, and a child that comes too late is ended.
   *
   * @throws AcquireTimeoutError after `timeoutMs`, with the last failure as its cause
   * @throws AdmissionError at once if there is no room for one more
   * @throws WaiterLimitError at once if `maxWaiters` wait already
   * @throws ClosedError if the pool is drained or closed
   * @throws whatever `spawn` throws, if that is not `retryable` or was the last attempt
   */
  async acquire<C extends PooledChild>(spawn: Spawn<C>, options: AcquireOptions = {}): Promise<ProcessLease<C>> {
    if (typeof spawn !== 'function') throw new TypeError(`spawn must be a function, received ${show(spawn)}`);
    const { key, priority, ...patience } = resolveAcquire(options, this.#policy);
    patience.signal?.throwIfAborted();
    if (this.#state === 'draining') throw new ClosedError('the pool', undefined, 'being drained');
    if (this.#state === 'closed') throw new ClosedError('the pool');
    const pending = this.#pending<C>(key);
    if (pending || this.#slots.taken >= this.#slots.max) this.#checkWaiters();
    const flight = pending ?? this.#begin(spawn, key, priority);
    return flight.join(patience);
  }

  #pending<C extends PooledChild>(key: string | undefined): Flight<C> | undefined {
    const flight = key === undefined ? undefined : (this.#flightsByKey.get(key) as Flight<C> | undefined);
    return flight?.isOpen ? flight : undefined;
  }

  #checkWaiters(): void {
    const { maxWaiters } = this.#policy;
    if (this.#callers - this.#startingFlights - this.#backingOff >= maxWaiters)
      throw new WaiterLimitError('the pool', maxWaiters);
  }

  #begin<C extends PooledChild>(spawn: Spawn<C>, key: string | undefined, priority: number): Flight<C> {
    const stack = this.#policy.leakAfterMs === undefined ? undefined : stackOf(this.acquire);
    const counted = (callers: 1 | -1) => {
      this.#callers += callers;
    };
    const flight = new Flight<C>({ key, priority, stack, counted });
    this.#flights.add(flight as never);
    if (key !== undefined) this.#flightsByKey.set(key, flight as never);
    this.#run(flight, spawn);
    return flight;
  }

  async #run<C extends PooledChild>(flight: Flight<C>, spawn: Spawn<C>): Promise<void> {
    try {
      const lease = await this.#attempts(flight, spawn);
      if (!flight.resolve(lease)) lease.abort(flight.givenUp.reason).catch(toldByFailure);
    } catch (error) {
      flight.fail(error);
    }
    this.#flights.delete(flight as never);
    const { key } = flight;
    if (key !== undefined && this.#flightsByKey.get(key) === (flight as never)) this.#flightsByKey.delete(key);
    this.#look();
  }

  #attempts<C extends PooledChild>(flight: Flight<C>, spawn: Spawn<C>): Promise<Lease<C>> {
    const { maxAttempts, maxWaiters } = this.#policy;
    return retrying((attempt) => this.#attempt(flight, spawn, attempt), {
      maxAttempts,
      isWorthMore: (error) => {
        flight.lastFailure = error;
        const hasRoom = this.#backingOff < Math.max(maxWaiters, this.#slots.max);
        return !flight.givenUp.isAborted && !flight.isRefused && hasRoom && isRetryable(error);
      },
      backOff: (attempt) => this.#backOff(flight, attempt),
    });
  }

  async #backOff<C extends PooledChild>(flight: Flight<C>, attempt: number): Promise<void> {
    const delayMs = this.#delayAfter(flight, attempt);
    this.#events.emit('retry', flight.lastFailure, attempt, delayMs);
    publish('retry', { pool: this, error: flight.lastFailure, attempt, delayMs });
    this.#backingOff++;
    try {
      await sleep(delayMs, flight.givenUp.signal);
    } finally {
      this.#backingOff--;
    }
  }

  #delayAfter<C extends PooledChild>(flight: Flight<C>, attempt: number): number {
    try {
      return this.#policy.backoffMs(attempt);
    } catch (error) {
      if (error instanceof Error) error.cause ??= flight.lastFailure;
      throw error;
    }
  }

  /** A slot, then a token, then a process: what waits for a slot holds nothing. */
  async #attempt<C extends PooledChild>(flight: Flight<C>, spawn: Spawn<C>, attempt: number): Promise<Lease<C>> {
    admit(this.#policy.admission);
    flight.queueFor('slot');
    const slot = this.#slots.tryTake() ?? (await this.#slots.take(flight.priority, flight.givenUp));
    this.#startingFlights++;
    try {
      await this.#clear(flight, slot);
      flight.queueFor(undefined);
      flight.attempts = attempt;
      return await this.#start(flight, spawn, slot);
    } finally {
      this.#startingFlights--;
    }
  }

  /** Waits until it may start with its slot, which is free again if it may not. */
  async #clear<C extends PooledChild>(flight: Flight<C>, slot: Slot): Promise<void> {
    const { spawnRate } = this.#policy;
    try {
      flight.queueFor('token');
      if (spawnRate) await spawnRate.take(1, { signal: flight.givenUp.signal, timeoutMs: Number.POSITIVE_INFINITY });
      // It may have waited for both.
      admit(this.#policy.admission);
      flight.givenUp.throwIfAborted();
    } catch (error) {
      flight.isRefused = true;
      this.#free(slot);
      throw error;
    }
  }

  /** The slot is its own from here on: whatever comes of the call of `spawn`, and whenever, frees it once. */
  async #start<C extends PooledChild>(flight: Flight<C>, spawn: Spawn<C>, slot: Slot): Promise<Lease<C>> {
    const { attempts, beganAt, key, givenUp, stack } = flight;
    const { child, started } = await start({
      spawn,
      attempt: attempts,
      timeoutMs: this.#policy.spawnTimeoutMs,
      tooLate: () => this.#timedOut(),
      givenUp,
      givenUpOn: () => {
        this.#overdue++;
      },
      came: (child, isLate) => {
        if (isLate) this.#overdue--;
        if (child) this.#children.add(child, () => this.#gone(child, slot));
        else this.#free(slot);
        if (child && isLate) this.#children.end(child);
      },
    });
    const stuck = (error: unknown) => this.#children.couldNotEnd(child, error);
    return this.#lease(new Lease({ child, key, waitedMs: now() - beganAt, attempts, stack, started, stuck }));
  }

  #timedOut(): SpawnTimeoutError {
    publish('spawn-timeout', { pool: this });
    return new SpawnTimeoutError(this.#policy.spawnTimeoutMs);
  }

  #lease<C extends PooledChild>(lease: Lease<C>): Lease<C> {
    const held = lease as unknown as Lease<PooledChild>;
    // Else it is gone already.
    if (this.#children.has(lease.child)) this.#leases.add(held);
    this.#events.emit('acquired', held);
    publish('acquired', { pool: this, lease });
    return lease;
  }

  #leaks(lease: Lease<PooledChild>): void {
    this.#events.emit('leak', lease);
    publish('leak', { pool: this, lease });
  }

  #failed(error: unknown): void {
    this.#events.emit('failure', error);
    publish('failure', { pool: this, error });
    this.#look();
  }

  /** Together, so that every slot that is taken is counted once. */
  #gone(child: PooledChild, slot: Slot): void {
    this.#leases.delete(child);
    this.#free(slot);
  }

  #free(slot: Slot): void {
    slot.free();
    this.#look();
  }

  #look(): void {
    this.#vacancy.look();
    if (this.#state !== 'closed' || this.#isGone || !this.#isEmpty) return;
    this.#isGone = true;
    publish('closed', { pool: this });
  }

  stats(): PoolStats {
    const active = this.#leases.size;
    return {
      max: this.#slots.max,
      active,
      starting: this.#slots.taken - active,
      waiting: this.#slots.waiting,
      backingOff: this.#backingOff,
      overdue: this.#overdue,
      stuck: this.#children.stuck,
    };
  }

  /** Those whose children are not gone yet, the oldest first. */
  leases(): readonly ProcessLease<PooledChild>[] {
    return [...this.#leases];
  }

  /**
   * Refuses new acquires and resolves when the pool is empty: who waits is still served, and leases are left to their
   * owners.
   *
   * @throws PoolInUseError after `timeoutMs`, 90 s by default; it stays drained
   */
  async drain(options: DrainOptions = {}): Promise<void> {
    const patience = resolveDrain(options);
    patience.signal?.throwIfAborted();
    if (this.#state === 'open') this.#state = 'draining';
    await this.#vacancy.wait(patience);
  }

  /**
   * Refuses new acquires, ends all waiting with `ClosedError`, aborts what is being started and ends every child. Resolves
   * when all of it is gone.
   *
   * @param options `timeoutMs`: 90 s by default
   * @throws PoolInUseError if something can't be ended, or a `spawn` does not settle in time; a later call tries again
   */
  async close(reason?: unknown, options: { readonly timeoutMs?: number | undefined } = {}): Promise<void> {
    checkKnown('close', options, ['timeoutMs']);
    const patience = resolveDrain(options);
    this.#endAll(reason);
    return this.#vacancy.wait(patience);
  }

  #endAll(reason: unknown): void {
    this.#state = 'closed';
    const closed = () => new ClosedError('the pool', reason);
    for (const flight of this.#flights) flight.fail(closed());
    this.#children.endAll((child) => {
      const lease = this.#leases.of(child);
      if (lease) lease.abort(closed()).catch(toldByFailure);
      else this.#children.end(child);
    });
    this.#look();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  on<E extends keyof ProcessPoolEvents>(event: E, listener: ProcessPoolEvents[E]): this {
    this.#events.on(event, listener);
    return this;
  }

  once<E extends keyof ProcessPoolEvents>(event: E, listener: ProcessPoolEvents[E]): this {
    this.#events.once(event, listener);
    return this;
  }

  off<E extends keyof ProcessPoolEvents>(event: E, listener: ProcessPoolEvents[E]): this {
    this.#events.off(event, listener);
    return this;
  }
}

function toldByFailure(): void {}
