import type { Readable } from 'node:stream';
import { checkKnown, checkNumber, checkOneOf, checkString, show } from '../internal/options.ts';
import { SLICE_BYTES } from './slicer.ts';

/** What a source is given when it is opened. */
export interface FanoutSourceContext {
  /** Aborts when the source is no longer wanted. A source that ignores it keeps its hub `'closing'`. */
  readonly signal: AbortSignal;
  /**
   * Ties a resource to this opening: it is disposed after the source closed, or if opening fails, the last one first.
   * Returns what it was given. Throws `ClosedError` once the opening is over.
   */
  use<T extends AsyncDisposable | Disposable>(resource: T): T;
}

/** A running source whose bytes come from `stdout`, such as a `ManagedChild`. */
export interface SourceHandle extends AsyncDisposable {
  readonly stdout: Readable | null;
  /**
   * Resolves when nothing of the source is left; the hub opens no other before. If it resolves to a `ChildExit`, only
   * exit code 0 counts as a clean end.
   */
  readonly closed: Promise<unknown>;
  /** Resolves to the `ChildExit` of the leader. It tells how the source ended where the rest of its tree takes long to go. */
  readonly exited?: Promise<unknown>;
}

/** Opens the source. Called for the first subscriber, never while an earlier source is still there. */
export type FanoutSource = (context: FanoutSourceContext) => Readable | SourceHandle | Promise<Readable | SourceHandle>;

/** Asked whether a source that ended may be opened again for the subscribers that are still there. */
export type FanoutReopen = (end: {
  /** Why it ended; absent if it ended cleanly. */
  readonly error?: unknown;
  /** How often the source was opened since the hub was last idle. */
  readonly openings: number;
}) => { readonly allowed: true } | { readonly allowed: false; readonly retryAfterMs: number } | false;

/**
 * Where in a slice one who comes late may begin, so that what it is given can be played: an offset, 0 for the slice's
 * first byte. A negative one lies so many bytes before the slice, where a format has its headers ahead of the place where
 * decoding can begin; as far as that is not kept (`prerollBytes`), or was of a source before, it is left out. `undefined` if
 * there is none. Of several the last is the best. It is not told when a source ends and another begins.
 */
export type JoinPoint = (slice: Buffer) => number | undefined;

/** See {@link FanoutHubOptions.onLag}. */
export type OnLag = 'disconnect' | 'skip';

/** Options of a {@link FanoutHub}. Times are in milliseconds; `Infinity` switches a bound off. */
export interface FanoutHubOptions {
  readonly source: FanoutSource;
  /** For messages, events and metrics. @default 'fan-out hub' */
  readonly name?: string | undefined;
  /**
   * Asked when a live source ended, or when opening it again failed; its subscribers stay meanwhile. A refusal is asked again
   * after `retryAfterMs`, at least 0, and as soon as one more subscribes; `false` ends those who stayed. From one opening to
   * the next there are 100 ms at least. To throw or to answer anything else is a `failure` and counts as `false`. Without it
   * they end with the source.
   */
  readonly reopen?: FanoutReopen | undefined;
  /** From the call of `source` to its first byte; at least 1. @default 10_000 */
  readonly startTimeoutMs?: number | undefined;
  /** A live source that gives no byte for so long has failed; at least 1. @default Infinity */
  readonly stallTimeoutMs?: number | undefined;
  /** How long a live source is kept after the last subscriber left. @default 0 */
  readonly closeAfterMs?: number | undefined;
  /**
   * How long bytes are collected before they are written, 0 to 1000; 0 forwards every chunk at once, which costs many
   * times the CPU with small chunks. A slice waits until all have the one before, so where one core can't write to them in
   * that time there are fewer and larger ones. @default adaptive: 4 ms for one subscriber, up to 40 ms for many
   */
  readonly sliceMs?: number | undefined;
  /**
   * A subscriber that is further behind than this when the next slice comes is dropped; at least 1. Counted are the
   * bytes that this process still holds for it; the kernel's send buffer comes on top. @default 4 MiB
   */
  readonly maxLagBytes?: number | undefined;
  /** A subscriber that has not taken a byte so long after it was given is dropped; at least 1. @default 10_000 */
  readonly maxLagMs?: number | undefined;
  /**
   * What becomes of a subscriber that lags. `'disconnect'`: it is dropped, a TCP connection by a reset, so that the kernel's
   * memory is free as well. `'skip'`: what waits for it is left out and so is what comes, up to the next join point at which
   * it can take more; one that takes nothing at all for `maxLagMs` is dropped nevertheless. @default 'disconnect'
   */
  readonly onLag?: OnLag | undefined;
  /**
   * Every slice is a multiple of this many bytes, counted from the source's first; 1 to 65536, 188 for MPEG-TS. Only
   * the very last slice of a source may be shorter, and the first of who begins at a `joinPoint`. @default 1
   */
  readonly align?: number | undefined;
  /**
   * Finds where one who comes late, or skips, may begin; called once for each slice, in order. Who waits for such a place
   * longer than `startTimeoutMs` begins with the next slice. To throw, or to answer anything else than an offset that lies
   * in the slice or before it, fails the source. @default any slice will do
   */
  readonly joinPoint?: JoinPoint | undefined;
  /**
   * Up to so many of the newest bytes are kept, and given at once to who comes late: from the last join point on if there
   * is a `joinPoint`, else all. From 0 to half of `maxLagBytes`, so that there is room for what comes meanwhile. It has to
   * hold what lies between two join points; with less, who comes in between waits for the next one.
   * @default with a `joinPoint` 2 MiB, or half of `maxLagBytes` if that is less; else 0
   */
  readonly prerollBytes?: number | undefined;
  /** More subscribers are refused with `SubscriberLimitError`; at least 1. @default Infinity */
  readonly maxSubscribers?: number | undefined;
}

/** The options with their defaults. */
export interface HubSettings {
  readonly name: string;
  readonly source: FanoutSource;
  readonly reopen: FanoutReopen | undefined;
  readonly startTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly closeAfterMs: number;
  readonly sliceMs: number | undefined;
  readonly maxLagBytes: number;
  readonly maxLagMs: number;
  readonly onLag: OnLag;
  readonly align: number;
  readonly joinPoint: JoinPoint | undefined;
  readonly prerollBytes: number;
  readonly maxSubscribers: number;
}

/** Two seconds of television at 8 Mbit/s. */
const PREROLL_BYTES = 2 * 1024 * 1024;

const KNOWN = [
  'name',
  'source',
  'reopen',
  'startTimeoutMs',
  'stallTimeoutMs',
  'closeAfterMs',
  'sliceMs',
  'maxLagBytes',
  'maxLagMs',
  'onLag',
  'align',
  'joinPoint',
  'prerollBytes',
  'maxSubscribers',
] as const satisfies (keyof FanoutHubOptions)[];

export function checkHubOptions(options: FanoutHubOptions | undefined): HubSettings {
  // Without any options it is the source that is missing, and the error has to say so.
  const given: Partial<FanoutHubOptions> = options ?? {};
  checkKnown('FanoutHub', given, KNOWN);
  const { name = 'fan-out hub', startTimeoutMs = 10_000, stallTimeoutMs = Infinity, closeAfterMs = 0 } = given;
  const { maxLagBytes = 4 * 1024 * 1024, maxLagMs = 10_000, onLag = 'disconnect' } = given;
  const { source, reopen, sliceMs, align = 1, joinPoint, maxSubscribers = Infinity } = given;
  const usualPreroll = joinPoint ? Math.min(PREROLL_BYTES, Math.floor(maxLagBytes / 2)) : 0;
  return {
    name: checkString('name', name),
    source: checkFunction('source', source),
    reopen: reopen === undefined ? undefined : checkFunction('reopen', reopen),
    startTimeoutMs: checkNumber('startTimeoutMs', startTimeoutMs, { min: 1 }),
    stallTimeoutMs: checkNumber('stallTimeoutMs', stallTimeoutMs, { min: 1 }),
    closeAfterMs: checkNumber('closeAfterMs', closeAfterMs),
    sliceMs: sliceMs === undefined ? undefined : checkNumber('sliceMs', sliceMs, { max: 1000 }),
    maxLagBytes: checkMaxLagBytes(maxLagBytes),
    maxLagMs: checkNumber('maxLagMs', maxLagMs, { min: 1 }),
    onLag: checkOnLag(onLag),
    align: checkNumber('align', align, { min: 1, max: SLICE_BYTES, integer: true }),
    joinPoint: joinPoint === undefined ? undefined : checkFunction('joinPoint', joinPoint),
    prerollBytes: checkPreroll(given.prerollBytes ?? usualPreroll, maxLagBytes),
    maxSubscribers: checkNumber('maxSubscribers', maxSubscribers, { min: 1, integer: true }),
  };
}

export function checkMaxLagBytes(value: unknown): number {
  return checkNumber('maxLagBytes', value, { min: 1, integer: true });
}

export function checkOnLag(value: unknown): OnLag {
  return checkOneOf('onLag', value, ['disconnect', 'skip']);
}

/** Who is given more than it may be behind would be dropped with the next slice. */
function checkPreroll(value: unknown, maxLagBytes: number): number {
  const most = Math.floor(maxLagBytes / 2);
  const bytes = checkNumber('prerollBytes', value, { integer: true });
  if (bytes <= most && bytes < Infinity) return bytes;
  throw new RangeError(
    `prerollBytes must be finite and at most half of maxLagBytes, which is ${maxLagBytes}, received ${bytes}`,
  );
}

/** Returns `answer` if it is one that `joinPoint` may give for a slice of this length. */
export function checkJoinPoint(answer: number | undefined, sliceBytes: number): number | undefined {
  if (answer === undefined || (Number.isInteger(answer) && answer < sliceBytes)) return answer;
  throw new RangeError(
    `joinPoint must answer undefined or a whole number below ${sliceBytes}, the length of the slice, received ${show(answer)}`,
  );
}

/** Returns `answer` if it is one that `reopen` may give. */
export function checkReopenAnswer(answer: unknown): ReturnType<FanoutReopen> {
  const { allowed, retryAfterMs } = (answer ?? {}) as { readonly allowed?: unknown; readonly retryAfterMs?: unknown };
  if (answer !== false) checkOneOf("allowed of reopen's answer", allowed, [true, false]);
  if (allowed === false) checkNumber("retryAfterMs of reopen's answer", retryAfterMs);
  return answer as ReturnType<FanoutReopen>;
}

function checkFunction<T>(name: string, value: T | undefined): T {
  if (typeof value === 'function') return value;
  throw new TypeError(`${name} must be a function, received ${value === null ? 'null' : typeof value}`);
}
