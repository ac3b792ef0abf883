import { HeartbeatTimeoutError, ServiceAbandonedError } from '../errors.ts';
import { after, now } from '../internal/time.ts';
import type { RestartPolicy } from './options.ts';

/** What a service gets from the supervisor. */
export interface ServiceContext {
  /** Aborts when the service has to end. */
  readonly signal: AbortSignal;
  /** From 1; it begins anew after the service was healthy. */
  readonly attempt: number;
  /** It does what it is for. Only then it can become healthy. */
  ready(): void;
  /** It lives; with `heartbeat` it has to say so again and again. */
  beat(): void;
}

/** Runs until its signal aborts; what it throws is a failure, and for a permanent one any other end. */
export type ServiceFunction = (context: ServiceContext) => Promise<void>;

/** One call of a service's function, watched to its end. */
export class ServiceRun {
  /** Resolves or rejects as the function does, or rejects when it was aborted and goes on for too long. */
  readonly ended: Promise<void>;
  readonly #id: string;
  readonly #policy: RestartPolicy;
  readonly #becameReady: () => void;
  readonly #controller = new AbortController();
  #isReady = false;
  #isOver = false;
  #hasBeaten = false;
  #silence: Disposable | undefined;
  #abandoning: Disposable | undefined;
  #abandon!: (error: ServiceAbandonedError) => void;
  #abandoned: ServiceAbandonedError | undefined;

  /** @param becameReady called once, and not after its end */
  constructor(id: string, service: ServiceFunction, attempt: number, policy: RestartPolicy, becameReady: () => void) {
    this.#id = id;
    this.#policy = policy;
    this.#becameReady = becameReady;
    const abandoned = new Promise<never>((_, reject) => {
      this.#abandon = (error) => {
        this.#abandoned = error;
        reject(error);
      };
    });
    this.#listen(Math.max(policy.startGraceMs, policy.silenceMs));
    const context = { signal: this.signal, attempt, ready: () => this.#ready(), beat: () => this.#beat() };
    this.ended = Promise.race([call(service, context), abandoned]).finally(() => this.#end());
  }

  /** Aborts when it has to end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What tells that it went on for too long after it was aborted, if it did. */
  get abandoned(): ServiceAbandonedError | undefined {
    return this.#abandoned;
  }

  /** The first one counts. */
  abort(reason: unknown): void {
    if (this.#isOver || this.signal.aborted) return;
    const { stopTimeoutMs } = this.#policy;
    this.#abandoning = after(stopTimeoutMs, () => this.#abandon(new ServiceAbandonedError(this.#id, stopTimeoutMs)));
    this.#controller.abort(reason);
  }

  #ready(): void {
    if (this.#isReady || this.#isOver || this.signal.aborted) return;
    this.#isReady = true;
    this.#becameReady();
  }

  #beat(): void {
    if (this.#isOver) return;
    this.#hasBeaten = true;
    this.#listen(this.#policy.silenceMs);
  }

  /** One that has never beaten is measured from its start. */
  #listen(ms: number): void {
    if (this.#policy.silenceMs === Number.POSITIVE_INFINITY) return;
    this.#silence?.[Symbol.dispose]();
    const since = now();
    const silent = () => this.abort(new HeartbeatTimeoutError(this.#id, now() - since, this.#hasBeaten));
    this.#silence = after(ms, silent, { idle: true });
  }

  #end(): void {
    this.#isOver = true;
    for (const timer of [this.#silence, this.#abandoning]) timer?.[Symbol.dispose]();
  }
}

/**
 * Not before who started it knows of the run, and not at all if it is to end by then; one that throws at once has failed like
 * one that rejects.
 */
async function call(service: ServiceFunction, context: ServiceContext): Promise<void> {
  await undefined;
  context.signal.throwIfAborted();
  await service(context);
}
