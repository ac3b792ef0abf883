import { isFault } from '../errors/faults.ts';
import { ClosedError, RestartRefusedError, ServiceEndedError } from '../errors.ts';
import { diagnosticsOf } from '../internal/diagnostics.ts';
import { createEmitter, type Emitter } from '../internal/events.ts';
import { checkKnown, checkOneOf, checkSignal, checkString, show } from '../internal/options.ts';
import { Attempt, type Attempted, type OpenFunction } from './attempt.ts';
import { type RestartPolicy, resolveOptions, type SupervisorOptions } from './options.ts';
import { type Permission, type Refusal, RestartGuards, type RestartVerdict } from './restart-guard.ts';
import { type RestartMode, Service, type ServiceState, type ServiceStatus } from './service.ts';
import type { ServiceFunction } from './service-run.ts';

export interface StartOptions {
  /** @default 'permanent' */
  readonly restart?: RestartMode | undefined;
}

/** The events of a supervisor. On `node:diagnostics_channel` they are `holdfast:supervisor:<event>`. */
export type SupervisorEvents = {
  /** A service went from one state to another. */
  state: (id: string, from: ServiceState | undefined, to: ServiceState) => void;
  /** A run failed: what it threw, or why it was aborted. */
  failure: (id: string, error: unknown) => void;
  /** A run begins that follows a failure or was asked for by `restart`. */
  restart: (id: string) => void;
  /** A guard keeps a service from being started. */
  refused: (id: string, refusal: Refusal) => void;
  /** There were `intensity` restarts within `periodMs`: no service is restarted for so long. */
  storm: (retryAfterMs: number) => void;
  /** The storm is over: at most half as many restarts were within the period. */
  resumed: () => void;
};

/** A service that was started. */
export interface ServiceHandle extends AsyncDisposable {
  readonly id: string;
  readonly state: ServiceState;
  /** Settles when it is over for good: rejects if it failed and is not started again, or ignores its signal. */
  readonly done: Promise<void>;
  status(): ServiceStatus;
  /**
   * Ends the run and starts another; resolves when that has begun, so the service itself must not wait for it. It counts as a
   * restart.
   *
   * @throws RestartRefusedError if a guard refuses
   * @throws ClosedError if it is over
   */
  restart(reason?: unknown): Promise<void>;
  /**
   * Ends it for good; the service itself must not wait for it.
   *
   * @throws ServiceAbandonedError if it ignores its signal for `stopTimeoutMs`
   */
  stop(): Promise<void>;
}

const publish = diagnosticsOf('supervisor');

/** The reasons of an end that somebody asked for. */
const WANTED = ['aborted', 'terminated'];

/**
 * Decides when what failed may be started again, and does it. Most callers want `start` for what always runs and `attempt`
 * for what is opened on demand.
 *
 * Four guards, in this order: the circuit breaker of the service, its cooldown, the storm throttle over all services, its
 * backoff. Each refusal says which one it was and for how long. The first start of a service, and one after an ending that
 * was asked for, is no restart: there the breaker alone is asked.
 *
 * A service is healthy when it has been ready for `stableAfterMs`; only then its failures are forgotten. An ending during
 * `stop` or `close` is no failure.
 *
 * Terms and modes are those of Erlang/OTP's supervisor; it starts one service for the other of none (`one_for_one`).
 *
 * It keeps what it knows in this process, and what it knows of an id until `stop(id)`.
 *
 * @example
 * const supervisor = new Supervisor();
 * supervisor.start('push', async ({ signal, ready }) => {
 *   const child = await ManagedChild.spawn('ffmpeg', args, { signal });
 *   ready();
 *   throw new ChildExitError('ffmpeg', await child.closed);
 * });
 */
export class Supervisor implements AsyncDisposable {
  readonly #policy: RestartPolicy;
  readonly #guards: RestartGuards;
  readonly #events: Emitter<SupervisorEvents> = createEmitter();
  readonly #services = new Map<string, Service>();
  /** What is open, or being opened, on demand. */
  readonly #attempts = new Map<string, Set<Attempt<Attempted>>>();
  /** Whose attempts were stopped, and nothing was attempted since: nothing is to be known of them when those are over. */
  readonly #stopped = new Set<string>();
  #isClosed = false;
  #closing: Promise<void> | undefined;

  constructor(options: SupervisorOptions = {}) {
    this.#policy = resolveOptions(options);
    this.#guards = new RestartGuards(this.#policy, {
      begun: (id, isRestart) => {
        publish('run', { supervisor: this, id, isRestart });
        if (isRestart) this.#tell('restart', { id }, id);
      },
      refused: (id, refusal) => this.#tell('refused', { id, ...refusal }, id, refusal),
      failed: (id, error) => this.#tell('failure', { id, error }, id, error),
      storm: (retryAfterMs) => this.#tell('storm', { retryAfterMs }, retryAfterMs),
      resumed: () => this.#tell('resumed', {}),
      forgotten: (id) => publish('forgotten', { supervisor: this, id }),
    });
    publish('created', { supervisor: this });
  }

  /**
   * Runs a service, and starts it again when it ends, as `restart` says and the guards allow.
   *
   * @throws TypeError if a service of this id runs already
   * @throws ClosedError if the supervisor is closed
   */
  start(id: string, service: ServiceFunction, options: StartOptions = {}): ServiceHandle {
    checkString('id', id);
    if (typeof service !== 'function') throw new TypeError(`service must be a function, received ${show(service)}`);
    checkKnown('start', options, ['restart']);
    const mode = checkOneOf('restart', options.restart ?? 'permanent', ['permanent', 'transient', 'temporary']);
    this.#checkOpen();
    const former = this.#services.get(id);
    if (former && !former.isOver)
      throw new TypeError(`there is a service ${show(id)} already; stop it, or take another id`);
    const started: Service = new Service({ id, service, mode }, this.#guards, this.#policy, {
      changed: (_, from, to) => this.#tell('state', { id, from, to }, id, from, to),
      abandoned: (error) => this.#tell('failure', { id, error }, id, error),
    });
    this.#services.set(id, started);
    started.begin();
    return handleOf(started, () => this.#stop(id, started, []));
  }

  /**
   * Opens something on demand, if the guards allow it; the supervisor never does so by itself. That `open` rejects, or that
   * what it opened ends unless it was `aborted` or `terminated`, is a failure. It is healthy `stableAfterMs` after it was
   * opened; `heartbeat` is for services alone. `status()` does not list it.
   *
   * An abort rejects with the signal's reason; what `open` gives after that is disposed of, if it can be. It is no failure
   * unless its reason tells of a fault: a time-out, or that a `FanoutHub` found its source to be over. The signal that
   * `open` gets aborts with it for as long as what it opened lives.
   *
   * @throws RestartRefusedError if a guard refuses
   * @throws ClosedError if the supervisor is closed
   * @throws whatever `open` throws
   */
  async attempt<T extends Attempted>(
    id: string,
    open: OpenFunction<T>,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    checkString('id', id);
    if (typeof open !== 'function') throw new TypeError(`open must be a function, received ${show(open)}`);
    checkKnown('attempt', options, ['signal']);
    const signal = checkSignal(options.signal);
    signal?.throwIfAborted();
    this.#checkOpen();
    const attempt: Attempt<T> = new Attempt(id, (context) => open({ ...context, attempt: permission.attempt }), signal);
    // Before it is allowed: whoever is told of that may stop it.
    this.#add(attempt as never);
    const permission = this.#permit(attempt as never);
    try {
      const opened = await attempt.opened();
      this.#watch(permission, attempt as never, opened);
      return opened;
    } catch (error) {
      const isFailure = attempt.signal.aborted ? isFault(attempt.signal.reason) : this.#policy.isFailure(error);
      if (isFailure) permission.failed(error);
      else permission.ended();
      throw error;
    }
  }

  #permit(attempt: Attempt<Attempted>): Permission {
    const { id } = attempt;
    const { startGraceMs, stableAfterMs } = this.#policy;
    // A probe that is opened for ever must not keep the circuit half-open.
    const verdict = this.#guards.begin(id, Math.max(1, startGraceMs + stableAfterMs));
    if (verdict.allowed) {
      this.#stopped.delete(id);
      return verdict.permission;
    }
    const refused = new RestartRefusedError(id, verdict.why, verdict.retryAfterMs, this.#guards.lastErrorOf(id));
    attempt.cancel(refused);
    throw refused;
  }

  #add(attempt: Attempt<Attempted>): void {
    const { id } = attempt;
    const all = this.#attempts.get(id) ?? new Set();
    this.#attempts.set(id, all.add(attempt));
    void attempt.over.then(() => {
      if (!all.delete(attempt) || all.size > 0) return;
      this.#attempts.delete(id);
      if (this.#stopped.has(id)) this.#forget(id);
    });
  }

  #watch(permission: Permission, { id, signal }: Attempt<Attempted>, opened: Attempted): void {
    permission.ready(signal);
    const over = (end: { readonly reason: string; readonly error?: unknown }) => {
      const isWanted = signal.aborted ? !isFault(signal.reason) : WANTED.includes(end.reason);
      if (isWanted) permission.ended();
      else permission.failed(signal.aborted ? signal.reason : new ServiceEndedError(id, end));
    };
    opened.closed.then(
      (end) => over(end ?? { reason: 'closed without a reason' }),
      (error) => over({ reason: 'closed was rejected', error }),
    );
  }

  /** Whether `restart` of a service that runs, or `attempt`, would be let through now, or the guard that refuses first. */
  canRestart(id: string): RestartVerdict {
    checkString('id', id);
    return this.#services.get(id)?.isRunning ? this.#guards.canReplace(id) : this.#guards.canStart(id);
  }

  /** As `ServiceHandle.restart` does. */
  async restart(id: string, reason?: unknown): Promise<void> {
    await this.#serviceOf(id).restart(reason);
  }

  /**
   * Ends a service, or what attempts of this id opened, and forgets what is known of it.
   *
   * @throws ServiceAbandonedError if something of it goes on for `stopTimeoutMs`
   */
  async stop(id: string): Promise<void> {
    checkString('id', id);
    await this.#stop(id, this.#services.get(id), [...(this.#attempts.get(id) ?? [])]);
  }

  /** Whatever is begun under the same id meanwhile is left alone. */
  async #stop(id: string, service: Service | undefined, attempts: readonly Attempt<Attempted>[]): Promise<void> {
    const reason = new ClosedError(`the service ${id}`);
    const { stopTimeoutMs } = this.#policy;
    if (attempts.length > 0) this.#stopped.add(id);
    try {
      await Promise.all([service?.stop(), ...attempts.map((attempt) => attempt.end(reason, stopTimeoutMs))]);
    } finally {
      if (this.#services.get(id) === service) this.#services.delete(id);
      this.#forget(id);
    }
  }

  /** Unless something of it is there. */
  #forget(id: string): void {
    if (this.#services.has(id) || this.#attempts.has(id)) return;
    this.#stopped.delete(id);
    this.#guards.forget(id);
  }

  /** Of the services that were started and not stopped. */
  status(): ServiceStatus[] {
    return [...this.#services.values()].map((service) => service.status());
  }

  /**
   * Ends all of it.
   *
   * @throws ServiceAbandonedError of the first that ignores its signal, when all others have ended
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // Before anything is told to end, which may start something else.
    this.#isClosed = true;
    const ids = new Set([...this.#services.keys(), ...this.#attempts.keys()]);
    const ends = await Promise.allSettled([...ids].map((id) => this.stop(id)));
    this.#guards[Symbol.dispose]();
    publish('closed', { supervisor: this });
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  on<E extends keyof SupervisorEvents>(event: E, listener: SupervisorEvents[E]): this {
    this.#events.on(event, listener);
    return this;
  }

  once<E extends keyof SupervisorEvents>(event: E, listener: SupervisorEvents[E]): this {
    this.#events.once(event, listener);
    return this;
  }

  off<E extends keyof SupervisorEvents>(event: E, listener: SupervisorEvents[E]): this {
    this.#events.off(event, listener);
    return this;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ClosedError('the supervisor');
  }

  #serviceOf(id: string): Service {
    const service = this.#services.get(checkString('id', id));
    if (service) return service;
    throw new TypeError(`there is no service ${show(id)}; start it first`);
  }

  #tell<E extends keyof SupervisorEvents>(event: E, payload: object, ...args: Parameters<SupervisorEvents[E]>): void {
    (this.#events.emit as (event: E, ...args: Parameters<SupervisorEvents[E]>) => boolean)(event, ...args);
    publish(event, { supervisor: this, ...payload });
  }
}

function handleOf(service: Service, stop: () => Promise<void>): ServiceHandle {
  return {
    id: service.id,
    done: service.done,
    get state() {
      return service.state;
    },
    status: () => service.status(),
    restart: (reason) => service.restart(reason),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
