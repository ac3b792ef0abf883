import { isFault } from '../errors/faults.ts';
import { ClosedError, SourceEndedError, SourceStartTimeoutError } from '../errors.ts';
import { preHandled } from '../internal/abort.ts';
import { after, now } from '../internal/time.ts';
import type { FanoutHubState } from './events.ts';
import { checkReopenAnswer, type FanoutReopen, type HubSettings } from './options.ts';
import { SourceRun } from './source-run.ts';

/** The hub, as the keeper of its source sees it. */
export interface SourceOwner {
  /** Whether anyone subscribes. */
  isWanted(): boolean;
  entered(state: FanoutHubState): void;
  opened(): void;
  /** See {@link RunListener.data}. */
  data(chunk: Buffer, turnMs: number): number;
  /** No more data comes from this source. */
  flush(): void;
  /** The source was live and is over, or could not be opened: end those who do not stay for the next. */
  over(error: unknown, wasLive: boolean): void;
  /** There will be no next source for those who stayed. */
  givenUp(error: unknown): void;
  /** No source could be called in time for those who wait for that long; tells when it is the next one's turn. */
  expired(error: unknown): number | undefined;
  failed(error: unknown): void;
}

/** The state with what belongs to it; `opening` without a run waits until `reopen` allows it. */
type Phase =
  | { readonly name: 'idle' | 'closing' | 'closed' }
  | { readonly name: 'opening'; readonly run?: SourceRun }
  | { readonly name: 'live'; readonly run: SourceRun };

/** How a source ended. */
interface Ending {
  readonly error: unknown;
}

/** From one opening to the next, whatever `reopen` allows: sources that are over at once must not keep this process busy. */
const PAUSE_MS = 100;

/** Keeps one source at most: opens it when it is wanted, and no other until everything of the last one is gone. */
export class SourceKeeper {
  readonly #settings: HubSettings;
  readonly #owner: SourceOwner;
  #phase: Phase = { name: 'idle' };
  /** Of the present phase: the end of lingering in `live`, the next question in `opening` without a run. */
  #timer: Disposable | undefined;
  /** Bounds the wait of those who have no byte while no source can be called. */
  #patience: Disposable | undefined;
  #restarted: PromiseWithResolvers<void> | undefined;
  #closed: PromiseWithResolvers<void> | undefined;
  /** How the last source ended, while `reopen` still has to be asked about it. */
  #ending: Ending | undefined;
  #openingsSinceIdle = 0;
  #openedAt = Number.NEGATIVE_INFINITY;

  constructor(settings: HubSettings, owner: SourceOwner) {
    this.#settings = settings;
    this.#owner = owner;
  }

  get state(): FanoutHubState {
    return this.#phase.name;
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** A subscriber came. Where the others wait for the next source it is asked for at once: much may have changed. */
  want(): void {
    const { name } = this.#phase;
    if (name === 'idle') this.#open();
    else if (name === 'live') this.#timer?.[Symbol.dispose]();
    else if (!this.#run) {
      this.#beginPatience();
      if (name === 'opening' && this.#ending) this.#askToReopen(this.#ending);
    }
  }

  /** The last subscriber left: nobody stays for the next source. */
  unwant(): void {
    const { closeAfterMs } = this.#settings;
    this.#endPatience();
    this.#ending = undefined;
    if (this.#phase.name === 'live' && closeAfterMs > 0) this.#timer = after(closeAfterMs, () => this.#shut());
    else this.#shut();
  }

  /** The bytes of the source are no use, those before its end included. */
  fail(error: unknown): void {
    if (this.#run) this.#run.fail(error);
    else this.#owner.failed(error);
  }

  restart(reason: unknown): Promise<void> {
    if (this.#closed) return Promise.reject(new ClosedError(this.#settings.name));
    if (this.#phase.name === 'idle') return Promise.resolve();
    this.#restarted ??= Promise.withResolvers();
    const promise = preHandled(this.#restarted.promise);
    this.#ending = undefined;
    if (this.#phase.name === 'opening' && !this.#run) this.#open();
    else this.#shut(reason);
    return promise;
  }

  close(reason: unknown): Promise<void> {
    if (this.#closed) return this.#closed.promise;
    this.#closed = Promise.withResolvers();
    const { promise } = this.#closed;
    this.#endPatience();
    if (this.#phase.name === 'idle') this.#goOn();
    else this.#shut(reason);
    return promise;
  }

  get #run(): SourceRun | undefined {
    return 'run' in this.#phase ? this.#phase.run : undefined;
  }

  #transition(phase: Phase): void {
    this.#timer?.[Symbol.dispose]();
    this.#phase = phase;
    if (phase.name === 'idle') this.#openingsSinceIdle = 0;
    if (phase.name === 'live' || phase.name === 'idle') this.#settleRestart((restarted) => restarted.resolve());
    this.#owner.entered(phase.name);
  }

  /** Only from phases without a run. */
  #open(): void {
    const run: SourceRun = new SourceRun(this.#settings, {
      data: (chunk, turnMs) => this.#received(run, chunk, turnMs),
      over: (error) => this.#over(error),
      disposeFailed: (error) => this.#owner.failed(error),
    });
    this.#endPatience();
    this.#ending = undefined;
    this.#openingsSinceIdle++;
    this.#openedAt = now();
    this.#transition({ name: 'opening', run });
    run.start();
    this.#owner.opened();
  }

  #received(run: SourceRun, chunk: Buffer, turnMs: number): number {
    if (this.#phase.name === 'opening') this.#transition({ name: 'live', run });
    // A listener of 'live' may have restarted the hub: the bytes of the old source are nobody's then.
    return this.#run === run ? this.#owner.data(chunk, turnMs) : 0;
  }

  #over(error: unknown): void {
    const wasLive = this.#phase.name === 'live';
    this.#owner.flush();
    // Before anyone is told, so that the last who leaves does not shut it again.
    this.#shut(isFault(error) ? error : new SourceEndedError(this.#settings.name, { cause: error }));
    this.#owner.over(error, wasLive);
    if (this.#settings.reopen && this.#owner.isWanted()) {
      this.#ending = { error };
      this.#beginPatience();
    }
    if (!wasLive) this.#settleRestart((restarted) => restarted.reject(error));
    if (error !== undefined) this.#owner.failed(error);
  }

  /** Goes on with what is wanted then as soon as everything of the source is gone. */
  #shut(reason?: unknown): void {
    if (this.#phase.name !== 'opening' && this.#phase.name !== 'live') return;
    const run = this.#run;
    this.#transition({ name: 'closing' });
    const gone = run ? run.stop(reason) : Promise.resolve();
    gone.then(() => this.#goOn());
  }

  /** Nothing of a source is there now. */
  #goOn(): void {
    if (this.#closed) this.#finish(this.#closed);
    else if (!this.#owner.isWanted()) this.#rest();
    else if (this.#ending) this.#askToReopen(this.#ending);
    else this.#open();
  }

  #rest(): void {
    this.#ending = undefined;
    this.#transition({ name: 'idle' });
  }

  #finish(closed: PromiseWithResolvers<void>): void {
    this.#settleRestart((restarted) => restarted.reject(new ClosedError(this.#settings.name)));
    this.#transition({ name: 'closed' });
    closed.resolve();
  }

  /** The answer counts only if `reopen` itself did not close or restart the hub or make the last subscriber leave. */
  #askToReopen(ending: Ending): void {
    const phase = this.#phase;
    const answer = this.#answer(ending);
    if (this.#phase !== phase) return;
    if (!this.#owner.isWanted() || this.#ending !== ending) this.#goOn();
    else if (!answer) this.#giveUp(ending);
    else if (!answer.allowed) this.#waitFor(answer.retryAfterMs, () => this.#askToReopen(ending));
    else this.#openAfterPause();
  }

  #openAfterPause(): void {
    const pauseMs = this.#openedAt + PAUSE_MS - now();
    if (pauseMs > 0) this.#waitFor(pauseMs, () => this.#open());
    else this.#open();
  }

  #waitFor(ms: number, next: () => void): void {
    this.#transition({ name: 'opening' });
    this.#timer = after(ms, next);
  }

  #giveUp(ending: Ending): void {
    this.#ending = undefined;
    this.#transition({ name: 'closing' });
    this.#owner.givenUp(ending.error);
    this.#goOn();
  }

  /** A `reopen` that throws, or whose answer is none, has not allowed it. */
  #answer({ error }: Ending): ReturnType<FanoutReopen> {
    const end = { openings: this.#openingsSinceIdle, ...(error !== undefined && { error }) };
    try {
      return checkReopenAnswer(this.#settings.reopen?.(end));
    } catch (thrown) {
      this.#owner.failed(thrown);
      return false;
    }
  }

  #beginPatience(): void {
    this.#patience ??= after(this.#settings.startTimeoutMs, () => this.#expire());
  }

  #expire(): void {
    const { name, startTimeoutMs } = this.#settings;
    const nextMs = this.#owner.expired(new SourceStartTimeoutError(name, startTimeoutMs));
    this.#patience = nextMs === undefined ? undefined : after(nextMs, () => this.#expire());
  }

  #endPatience(): void {
    this.#patience?.[Symbol.dispose]();
    this.#patience = undefined;
  }

  #settleRestart(settle: (restarted: PromiseWithResolvers<void>) => void): void {
    const restarted = this.#restarted;
    this.#restarted = undefined;
    if (restarted) settle(restarted);
  }
}
