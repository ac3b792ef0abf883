import {
  ClosedError,
  HeartbeatTimeoutError,
  RestartRefusedError,
  ServiceAbandonedError,
  ServiceEndedError,
} from '../errors.ts';
import { preHandled } from '../internal/abort.ts';
import { sleep } from '../internal/time.ts';
import type { RestartPolicy } from './options.ts';
import type { Permission, Refusal, RestartGuards, RestartVerdict, RunVerdict } from './restart-guard.ts';
import { type ServiceFunction, ServiceRun } from './service-run.ts';

/** `permanent`: restarted whatever it ends by; `transient`: if it throws; `temporary`: never. */
export type RestartMode = 'permanent' | 'transient' | 'temporary';

/** Each carries what only it needs. */
type State =
  | { readonly name: 'starting' | 'running'; readonly run: ServiceRun; readonly permission: Permission }
  | { readonly name: 'backing-off' | 'blocked'; readonly waking: AbortController }
  | { readonly name: 'stopped' | 'failed' };

export type ServiceState = 'starting' | 'running' | 'backing-off' | 'blocked' | 'stopped' | 'failed';

/** How it is with a service. */
export interface ServiceStatus {
  readonly id: string;
  readonly state: ServiceState;
  /** How often it was started again. */
  readonly restarts: number;
  /** What it failed with last. */
  readonly lastError?: unknown;
  /** Which guard keeps it from being started again, and for how long at least. */
  readonly refusal?: Refusal;
}

/** What a service tells its supervisor. */
export interface ServiceListener {
  changed(id: string, from: ServiceState | undefined, to: ServiceState): void;
  /** It ignores its signal. */
  abandoned(error: ServiceAbandonedError): void;
}

/** How a run ended: as it was asked to, unless by a failure. */
interface Ending {
  readonly failure?: { readonly error: unknown };
  readonly abandoned?: ServiceAbandonedError;
}

/** What runs under which name, and when it is started again. */
export interface ServicePlan {
  readonly id: string;
  readonly service: ServiceFunction;
  readonly mode: RestartMode;
}

/**
 * One service, started again and again as the guards allow. One loop alone starts it and waits for its end, so that nothing
 * can be started twice or wait for itself.
 */
export class Service {
  /** Settles when it is over for good: rejects if it failed and is not started again, or ignores its signal. */
  readonly done: Promise<void>;
  readonly #plan: ServicePlan;
  readonly #guards: RestartGuards;
  readonly #policy: RestartPolicy;
  readonly #listener: ServiceListener;
  readonly #over = Promise.withResolvers<void>();
  /** Undefined before the first. */
  #state: State | undefined;
  #restarts = 0;
  #lastError: unknown;
  #isStopping = false;
  /** Set while it is being restarted by hand. */
  #restarting: PromiseWithResolvers<void> | undefined;
  /** The run that was granted, until it begins. */
  #granted: Permission | undefined;

  constructor(plan: ServicePlan, guards: RestartGuards, policy: RestartPolicy, listener: ServiceListener) {
    this.#plan = plan;
    this.#guards = guards;
    this.#policy = policy;
    this.#listener = listener;
    this.done = preHandled(this.#over.promise);
  }

  get id(): string {
    return this.#plan.id;
  }

  get state(): ServiceState {
    const refusal = this.#refusal;
    return refusal ? waitingFor(refusal) : (this.#state?.name ?? 'starting');
  }

  /** Which guard keeps it waiting: the one that refused it may have been overtaken by another. */
  get #refusal(): Refusal | undefined {
    const isWaiting = this.#state !== undefined && 'waking' in this.#state;
    const verdict = isWaiting ? this.#guards.canStart(this.id) : undefined;
    return verdict?.allowed === false ? verdict : undefined;
  }

  /** Whether it is over for good. */
  get isOver(): boolean {
    return this.state === 'stopped' || this.state === 'failed';
  }

  /** Whether its function is called and has not ended. */
  get isRunning(): boolean {
    return this.#state !== undefined && 'run' in this.#state;
  }

  status(): ServiceStatus {
    const { id, state } = this;
    const refusal = this.#refusal;
    const status = { id, state, restarts: this.#restarts, lastError: this.#lastError };
    return refusal ? { ...status, refusal } : status;
  }

  /** Has it started: the first run begins in this turn. */
  begin(): void {
    this.#live().then(
      () => this.#finish('stopped'),
      (error) => this.#finish('failed', error),
    );
  }

  /** Ends what runs and starts it anew; resolves when that has begun. */
  async restart(reason: unknown): Promise<void> {
    if (this.#isStopping || this.isOver) throw new ClosedError(`the service ${this.id}`);
    if (!this.#restarting) {
      this.#grant(reason);
      this.#restarting = Promise.withResolvers();
      preHandled(this.#restarting.promise);
    }
    await this.#restarting.promise;
  }

  #grant(reason: unknown): void {
    const state = this.#state;
    if (state && 'run' in state) {
      const granted = this.#guards.replace(this.id, state.permission, Number.POSITIVE_INFINITY);
      if (!granted.allowed) throw this.#refused(granted);
      this.#granted = granted.permission;
      state.run.abort(reason);
    } else {
      const verdict = this.#guards.canStart(this.id);
      if (!verdict.allowed) throw this.#refused(verdict);
      this.#wake();
    }
  }

  #refused({ why, retryAfterMs }: Refusal): RestartRefusedError {
    return new RestartRefusedError(this.id, why, retryAfterMs, this.#lastError);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const state = this.#state;
    if (state && 'run' in state) state.run.abort(new ClosedError(`the service ${this.id}`));
    this.#wake();
    await this.done.catch((error) => {
      if (error instanceof ServiceAbandonedError) throw error;
    });
  }

  async #live(): Promise<void> {
    try {
      for (let isOver = false; !isOver; ) {
        const verdict = this.#next();
        // Whoever was told of it may have stopped it.
        if (this.#isStopping) return;
        if (verdict.allowed) isOver = await this.#isOverAfter(verdict.permission);
        else await this.#wait(verdict);
      }
    } finally {
      this.#granted?.ended();
    }
  }

  /** What was granted is so until it runs. */
  #next(): RunVerdict {
    if (this.#granted) return { allowed: true, permission: this.#granted };
    const verdict = this.#guards.begin(this.id, Number.POSITIVE_INFINITY);
    if (verdict.allowed) this.#granted = verdict.permission;
    return verdict;
  }

  /** Until it is woken, or that guard does not refuse any more: a timer may be early, and others may have come before. */
  async #wait(refusal: Refusal): Promise<void> {
    const waking = new AbortController();
    this.#transition({ name: waitingFor(refusal), waking });
    for (let verdict: RestartVerdict = refusal; isThat(verdict, refusal); verdict = this.#guards.canStart(this.id)) {
      await sleep(verdict.retryAfterMs, waking.signal).catch(() => {});
      if (waking.signal.aborted) return;
    }
  }

  #wake(): void {
    const state = this.#state;
    if (state && 'waking' in state) state.waking.abort();
  }

  /** Throws what it is over by, if that is a failure. */
  async #isOverAfter(permission: Permission): Promise<boolean> {
    if (permission.isRestart) this.#restarts++;
    const { failure, abandoned } = await this.#runOnce(permission);
    if (abandoned) this.#listener.abandoned(abandoned);
    if (failure) this.#lastError = failure.error;
    if (failure) permission.failed(failure.error);
    else permission.ended();
    if (this.#isStopping) {
      if (abandoned) throw abandoned;
      return true;
    }
    if (this.#granted) return false;
    if (failure && this.#plan.mode === 'temporary') throw failure.error;
    return !failure;
  }

  /** Calls the service once and tells how that ended. */
  async #runOnce(permission: Permission): Promise<Ending> {
    const { id, service, mode } = this.#plan;
    const run: ServiceRun = new ServiceRun(id, service, permission.attempt, this.#policy, () => {
      permission.ready(run.signal);
      this.#transition({ name: 'running', run, permission });
    });
    this.#granted = undefined;
    const restarting = this.#restarting;
    this.#restarting = undefined;
    this.#transition({ name: 'starting', run, permission });
    restarting?.resolve();
    const thrown = await run.ended.then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const abandoned = run.abandoned ? { abandoned: run.abandoned } : {};
    // The first cause counts: what it throws when it is aborted is only a consequence.
    const { reason } = run.signal;
    if (reason instanceof HeartbeatTimeoutError) return { failure: { error: reason }, ...abandoned };
    if (this.#granted || this.#isStopping) return abandoned;
    if (thrown) return { failure: thrown, ...abandoned };
    return mode === 'permanent' ? { failure: { error: new ServiceEndedError(id) } } : {};
  }

  #finish(name: 'stopped' | 'failed', error?: unknown): void {
    this.#restarting?.reject(new ClosedError(`the service ${this.id}`));
    this.#transition({ name });
    if (name === 'failed') this.#over.reject(error);
    else this.#over.resolve();
  }

  #transition(to: State): void {
    const from = this.#state?.name;
    this.#state = to;
    if (from !== to.name) this.#listener.changed(this.id, from, to.name);
  }
}

function isThat(verdict: RestartVerdict, { why }: Refusal): verdict is Refusal {
  return !verdict.allowed && verdict.why === why;
}

function waitingFor({ why }: Refusal): 'backing-off' | 'blocked' {
  return why === 'backoff' ? 'backing-off' : 'blocked';
}
