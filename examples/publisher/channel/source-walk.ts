import {
  type ChildExit,
  ChildExitError,
  RestartRefusedError,
  redactCredentials,
  SourceEndedError,
  SourceStalledError,
  SourceStartTimeoutError,
  type Supervisor,
} from 'holdfast';
import { NoTunerError, SourceClosedError, SourceLostError, SourcesFailedError } from '../errors.ts';
import { blameOf, failureOf } from '../failure.ts';
import type { Logger } from '../log.ts';
import type { SourceEnd } from '../pipeline/open-source.ts';
import type { ListedSource, SourceList } from './source-list.ts';
import type { ReadSource, SourceReader } from './source-reader.ts';
import type { Switches, SwitchReason } from './switches.ts';
import { freeTunersOf } from './tuner-check.ts';

/** What an opening has of the time to start: who waits is told what it failed with, and not only that it took too long. */
const OPENING_SHARE = 0.9;
/** A source that has less than this would fail for want of time, which says nothing about it. */
const LEAST_START_MS = 300;
/** When it is asked again whether others still have a source, unless it says so itself. */
const BUSY_RETRY_MS = 5_000;

/** Where the parts of a channel that open its sources meet. */
export interface WalkParts {
  readonly id: string;
  readonly list: SourceList;
  readonly reader: SourceReader;
  readonly switches: Switches;
  readonly supervisor: Supervisor;
  readonly log: Logger;
  /** What ended by itself and of which the hub does not tell. */
  readonly ended: (error: unknown) => void;
}

interface Tried {
  readonly listed: ListedSource;
  readonly error: unknown;
}

/**
 * Opens the first source of a channel that can be: each is an attempt of its own for the supervisor, so that going on to the
 * next is no restart, and opening one again is. A fault of this host or of this publisher ends the walk at once: it would
 * meet the next source as well, and tells nothing about either.
 */
export class SourceWalk {
  readonly #parts: WalkParts;

  constructor(parts: WalkParts) {
    this.#parts = parts;
  }

  async open(
    name: string,
    terms: { readonly signal: AbortSignal; readonly startTimeoutMs: number },
  ): Promise<ReadSource> {
    const { signal, startTimeoutMs } = terms;
    const deadline = performance.now() + OPENING_SHARE * startTimeoutMs;
    const tried: Tried[] = [];
    for (;;) {
      const left = await this.#left(tried, signal);
      const leftMs = deadline - performance.now();
      const [next] = left;
      if (!next || (tried.length > 0 && leftMs < LEAST_START_MS)) throw this.#outcome(tried);
      try {
        return await this.#attempt(next, name, { signal, startTimeoutMs: Math.max(1, leftMs / left.length) });
      } catch (error) {
        tried.push({ listed: next, error });
        this.#note(next, error, signal);
        if (signal.aborted) throw error;
        if (blameOf(error) === 'here') throw this.#outcome(tried);
        this.#sayNext(tried, left.length - 1);
      }
    }
  }

  /** Of sources that are as good as each other, the one whose device has more free tuners goes first. */
  async #left(tried: readonly Tried[], signal: AbortSignal): Promise<readonly ListedSource[]> {
    const wasTried = ({ key }: ListedSource) => tried.some(({ listed }) => listed.key === key);
    const groups = this.#parts.list
      .candidates(performance.now())
      .map((group) => group.filter((each) => !wasTried(each)));
    const [first = [], ...rest] = groups.filter((group) => group.length > 0);
    return [...(await this.#freerFirst(first, signal)), ...rest.flat()];
  }

  async #freerFirst(sources: readonly ListedSource[], signal: AbortSignal): Promise<readonly ListedSource[]> {
    if (sources.length < 2) return sources;
    const { reader } = this.#parts;
    const free = await Promise.all(sources.map(({ source }) => freeTunersOf(reader.known(source), signal)));
    signal.throwIfAborted();
    return sources
      .map((listed, index) => ({ listed, free: free[index] ?? -1 }))
      .sort((a, b) => b.free - a.free)
      .map(({ listed }) => listed);
  }

  async #attempt(
    listed: ListedSource,
    name: string,
    { signal, startTimeoutMs }: { readonly signal: AbortSignal; readonly startTimeoutMs: number },
  ): Promise<ReadSource> {
    const { id, list, reader, supervisor, log } = this.#parts;
    const isAskedFirst = list.isBusy(listed);
    log.info(`channel ${id}: opening ${redactCredentials(listed.source.url)}`);
    let starting: Promise<ReadSource> | undefined;
    const open = ({ signal }: { readonly signal: AbortSignal }) => {
      starting = reader.open(listed.source, name, { signal, startTimeoutMs, isAskedFirst });
      return starting;
    };
    list.opening(listed);
    try {
      const read = await supervisor.attempt(this.serviceOf(listed), open, { signal });
      void read.closed.then((end) => this.#ended(listed, end, signal));
      return read;
    } catch (error) {
      // An abort is told at once, and nothing may be left of this source when the next is opened.
      await starting?.then(
        (read) => read[Symbol.asyncDispose](),
        () => {},
      );
      throw error;
    }
  }

  /** What the supervisor knows a source by. An address is none of its business. */
  serviceOf({ number }: ListedSource): string {
    const { id } = this.#parts;
    return number === 1 ? id : `${id}#${number}`;
  }

  #note(listed: ListedSource, error: unknown, signal: AbortSignal): void {
    const { list } = this.#parts;
    const now = performance.now();
    const blame = signal.aborted ? (faultIn(signal) ? 'source' : 'here') : blameOf(error);
    if (blame === 'here' || error instanceof RestartRefusedError) {
      list.closed();
      return;
    }
    const said = failureOf(error);
    if (blame === 'source') list.failed(listed, said, now);
    else list.busy(listed, { ...said, retryAfterMs: said.retryAfterMs ?? BUSY_RETRY_MS }, now);
    this.#leave(listed, blame === 'source' ? 'refused' : 'busy');
  }

  #ended(listed: ListedSource, end: SourceEnd | ChildExit, signal: AbortSignal): void {
    const { list, ended } = this.#parts;
    const fault = signal.aborted ? faultIn(signal) : errorOf(end);
    if (fault === undefined) {
      list.closed();
      if (!signal.aborted) ended(undefined);
      return;
    }
    list.failed(listed, failureOf(fault), performance.now());
    this.#leave(listed, whyOf(fault));
    const isUntold = signal.aborted
      ? fault === signal.reason && signal.reason instanceof SourceEndedError
      : isClean(end);
    if (isUntold) ended(fault);
  }

  #leave({ key, source }: ListedSource, why: SwitchReason): void {
    this.#parts.switches.leave({ key, from: redactCredentials(source.url), why });
  }

  #sayNext(tried: readonly Tried[], left: number): void {
    const { id, log } = this.#parts;
    const last = tried.at(-1);
    if (!last || left === 0) return;
    const { title, detail, status } = failureOf(last.error);
    log.warn({ status }, `channel ${id}: ${title}: ${detail}; trying another source`);
  }

  /** What a viewer is told: of one source its own error, of several what each of them said. */
  #outcome(tried: readonly Tried[]): unknown {
    const { id, list } = this.#parts;
    const telling =
      tried.find(({ error }) => blameOf(error) === 'here') ??
      tried.find(({ error }) => blameOf(error) === 'elsewhere' && !(error instanceof RestartRefusedError)) ??
      tried.find(({ error }) => blameOf(error) === 'source') ??
      tried[0];
    if (!telling) return this.#refusal();
    if (list.all.length === 1) return telling.error;
    const errors = new Map(tried.map(({ listed, error }) => [listed.key, failureOf(error).detail]));
    const said = list.states(performance.now()).flatMap(({ listed, said }) => {
      const detail = errors.get(listed.key) ?? said?.detail;
      return detail === undefined ? [] : [`${redactCredentials(listed.source.url)}: ${detail}`];
    });
    return new SourcesFailedError(id, said, telling.error);
  }

  #refusal(): Error {
    const { id, list } = this.#parts;
    const now = performance.now();
    const verdict = list.verdict(now);
    const busy = list.states(now).find(({ state }) => state === 'busy')?.said;
    if (verdict.allowed) return new RestartRefusedError(id, 'backoff', BUSY_RETRY_MS);
    const { why, retryAfterMs } = verdict;
    if (why !== 'busy') return new RestartRefusedError(id, why, retryAfterMs);
    return new NoTunerError(id, busy?.deviceError ?? '805 All Tuners In Use', retryAfterMs, undefined);
  }
}

/** What a hub found its source to be over with; `undefined` if it only wants it no more. */
function faultIn({ reason }: AbortSignal): unknown {
  if (reason instanceof SourceEndedError) return reason.cause ?? reason;
  return reason instanceof SourceStalledError || reason instanceof SourceStartTimeoutError ? reason : undefined;
}

/** Of an end that nobody here wanted. */
function errorOf(end: SourceEnd | ChildExit): unknown {
  if (end.reason === 'terminated' || end.reason === 'aborted') return undefined;
  if ('error' in end && end.error !== undefined) return end.error;
  return 'code' in end ? new ChildExitError('ffmpeg', end) : new SourceEndedError(end.reason);
}

/** Nothing that is watched live should be complete. */
function isClean(end: SourceEnd | ChildExit): boolean {
  return end.reason === 'exited' && 'code' in end && end.code === 0;
}

function whyOf(fault: unknown): SwitchReason {
  if (fault instanceof SourceLostError) return fault.why;
  const isStall =
    fault instanceof SourceStalledError ||
    (fault instanceof SourceClosedError && fault.how === 'stalled') ||
    (fault instanceof ChildExitError && fault.exit.reason === 'stalled');
  return isStall ? 'silent' : 'ended';
}
