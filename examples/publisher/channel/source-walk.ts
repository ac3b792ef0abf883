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
import { NoTunerError, SourceClosedError, SourceLostError } from '../errors.ts';
import { failureOf } from '../failure.ts';
import { blameOf } from '../failure-kinds.ts';
import type { Logger } from '../log.ts';
import { mayPassThrough, type SourceEnd } from '../pipeline/open-source.ts';
import { BUSY_RETRY_MS } from './reopening.ts';
import type { Busy, ListedSource } from './source-entry.ts';
import { channelNames } from './source-identity.ts';
import type { SourceList } from './source-list.ts';
import { errorOf, type ReadSource, type SourceReader } from './source-reader.ts';
import type { Switches, SwitchReason } from './switches.ts';
import { freeTunersOf } from './tuner-check.ts';
import { outcomeOf, type Tried } from './walk-outcome.ts';

/** What an opening has of the time to start: who waits is told what it failed with, and not only that it took too long. */
const OPENING_SHARE = 0.9;
/** A tuner and ffmpeg take a while even if all is well: no source has less than this, or than a third of all. */
const FAIR_SHARE_MS = 4_000;
/** One that has less than this, or than a tenth of all, would fail for want of time, which says nothing about it. */
const LEAST_SHARE_MS = 1_000;

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

/**
 * Opens the first source of a channel that can be: each is an attempt of its own for the supervisor, so that going on to the
 * next is no restart, and opening one again is. A fault of this host or of this publisher that would meet the next source as
 * well ends the walk, and tells nothing about either; where no process can be had, what needs none is still tried.
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
    const { signal } = terms;
    const { id, list } = this.#parts;
    const totalMs = OPENING_SHARE * terms.startTimeoutMs;
    const deadline = performance.now() + totalMs;
    const tried: Tried[] = [];
    for (;;) {
      const left = await this.#left(tried, signal);
      const leftMs = deadline - performance.now();
      const [next] = left;
      const isTooLate = tried.length > 0 && leftMs < Math.min(LEAST_SHARE_MS, totalMs / 10);
      if (!next || isTooLate) throw outcomeOf(tried, id, list);
      const fairMs = Math.min(FAIR_SHARE_MS, totalMs / 3);
      // One that is only tried again keeps waiting who could see another.
      const shareMs = left.length > 1 && list.isReturn(next) ? fairMs : Math.max(leftMs / left.length, fairMs);
      try {
        const startTimeoutMs = Math.max(1, Math.min(leftMs, shareMs));
        const read = await this.#attempt(next, name, { signal, startTimeoutMs });
        this.#passOver(tried);
        return read;
      } catch (error) {
        tried.push({ listed: next, error });
        this.#note(next, error, signal);
        if (signal.aborted) throw error;
        if (blameOf(error) === 'here') throw outcomeOf(tried, id, list);
        this.#sayNext(tried, left.length - 1);
      }
    }
  }

  /** Of sources that are as good as each other, the one whose device has more free tuners goes first. */
  async #left(tried: readonly Tried[], signal: AbortSignal): Promise<readonly ListedSource[]> {
    const wasTried = ({ key }: ListedSource) => tried.some(({ listed }) => listed.key === key);
    const hasProcesses = tried.every(({ error }) => blameOf(error) !== 'process');
    const groups = this.#parts.list
      .candidates(performance.now())
      .map((group) => group.filter((each) => !wasTried(each) && (hasProcesses || mayPassThrough(each.source.url))));
    const [first = [], ...rest] = groups.filter((group) => group.length > 0);
    const ordered = [...(await this.#freerFirst(first, signal)), ...rest.flat()];
    const { all } = this.#parts.list;
    // Devices were asked meanwhile: what was removed by then is not to be opened.
    return ordered.every((listed) => all.includes(listed)) ? ordered : this.#left(tried, signal);
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
    const terms = { startTimeoutMs, isAskedFirst: list.isBusy(listed), alsoHolds: channelNames(list.all) };
    log.info(`channel ${id}: opening ${redactCredentials(listed.source.url)}`);
    let starting: Promise<ReadSource> | undefined;
    const open = ({ signal }: { readonly signal: AbortSignal }) => {
      starting = reader.open(listed.source, name, { ...terms, signal });
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
    if (error instanceof RestartRefusedError || (blame !== 'source' && blame !== 'elsewhere')) {
      list.closed();
      return;
    }
    if (blame === 'source') list.failed(listed, failureOf(error), now);
    else list.busy(listed, busyWith(error), now);
    this.#leave(listed, blame === 'source' ? 'refused' : 'busy');
  }

  /** Another could be read without a process: what there was none for is not gone back to at once. */
  #passOver(tried: readonly Tried[]): void {
    for (const { listed, error } of tried) {
      if (blameOf(error) !== 'process') continue;
      this.#parts.list.busy(listed, busyWith(error), performance.now());
      this.#leave(listed, 'busy');
    }
  }

  #ended(listed: ListedSource, end: SourceEnd | ChildExit, signal: AbortSignal): void {
    const { list, ended } = this.#parts;
    const fault = signal.aborted ? faultIn(signal) : errorOf(end);
    if (fault === undefined || blameOf(fault) !== 'source') {
      list.closed();
      if (fault !== undefined || !signal.aborted) ended(signal.aborted ? undefined : fault);
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
}

/** What a hub found its source to be over with; `undefined` if it only wants it no more. */
function faultIn({ reason }: AbortSignal): unknown {
  if (reason instanceof SourceEndedError) return reason.cause ?? reason;
  return reason instanceof SourceStalledError || reason instanceof SourceStartTimeoutError ? reason : undefined;
}

/** Only what is asked of a device is asked at longer and longer intervals; a look at this host costs nobody anything. */
function busyWith(error: unknown): Busy {
  const said = failureOf(error);
  const { retryAfterMs = BUSY_RETRY_MS } = said;
  return { ...said, error, retryAfterMs, mostMs: error instanceof NoTunerError ? undefined : retryAfterMs };
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
