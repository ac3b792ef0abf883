import {
  AcquireTimeoutError,
  AdmissionError,
  ChildExitError,
  ClosedError,
  ContainmentError,
  LeaseExpiredError,
  LockDirectoryError,
  LockInUseError,
  LockLostError,
  LockUnsupportedError,
  ReadyTimeoutError,
  RestartRefusedError,
  ServiceEndedError,
  SourceBusyError,
  SourceEndedError,
  SourceStartTimeoutError,
  SpawnError,
  SubscriberLimitError,
  TreeSurvivedError,
} from 'holdfast';
import { ProgramNotFoundError } from '../hdhomerun/index.ts';
import {
  EncoderHeldBackError,
  EncoderStalledError,
  HardwareError,
  NoTunerError,
  NothingToEncodeError,
  NotMpegTsError,
  PublisherFullError,
  RelayLoopError,
  SourceLateError,
  SourcesFailedError,
  SourceUntriedError,
  TracksUnsteadyError,
} from './errors.ts';

/**
 * Whose fault an error is.
 * - `source`: its own; its circuit takes note of it, and of no other.
 * - `elsewhere`: others have it, or nobody could reach it from here; that says nothing about it, but another may do.
 * - `nobody`: it was not tried; another may do, and it as well.
 * - `process`: there is no process to be had for it; what needs none may do.
 * - `here`: of this publisher or this host, so that no other source would do better.
 */
export type Blame = 'source' | 'elsewhere' | 'nobody' | 'process' | 'here';

/** What is said of an error, and whose fault it is. Who is told 503 is told when to come again, and why by a code of HDHomeRun. */
export type Kind = { readonly title: string; readonly blame: Blame; readonly retryAfterMs?: number } & (
  | { readonly status: 409 | 429 | 502 | 504 | 508; readonly deviceError?: undefined }
  | { readonly status: 503; readonly deviceError: string; readonly retryAfterMs: number }
);

/** When a viewer whom there is no room for may try again. */
const VIEWER_RETRY_MS = 10_000;
const SOON_MS = 5_000;
const NO_VIDEO = '807 No Video Data';
const ALL_IN_USE = '805 All Tuners In Use';

const unavailable = (title: string, blame: Blame, retryAfterMs = SOON_MS, deviceError = NO_VIDEO): Kind => ({
  ...{ status: 503, title, blame, retryAfterMs, deviceError },
});

const FULL = unavailable('This publisher is full', 'process', VIEWER_RETRY_MS, ALL_IN_USE);
const NO_PROGRAM: Kind = { status: 502, title: 'ffmpeg could not be started', blame: 'process' };
const LATE: Kind = { status: 504, title: 'The source did not start in time', blame: 'source' };
const UNENCODED: Kind = { status: 502, title: 'The stream could not be encoded', blame: 'source' };
const UNREADABLE: Kind = { status: 502, title: 'The source could not be read', blame: 'source' };
const UNLOCKED: Kind = { ...UNREADABLE, blame: 'here' };
const LOST = unavailable('The lock of the source was lost', 'elsewhere', 1_000);
const NO_NETWORK = unavailable('This host has no network', 'elsewhere');
const NO_NAMES = unavailable('No name server answers this host', 'elsewhere');
const SCARCE = unavailable('This host is short of memory or descriptors', 'elsewhere');

const KINDS: readonly (readonly [kind: abstract new (...args: never[]) => Error, said: Kind])[] = [
  [SourceBusyError, { status: 409, title: 'Another process holds this source', blame: 'elsewhere' }],
  [NoTunerError, unavailable('No tuner is free', 'elsewhere', VIEWER_RETRY_MS, ALL_IN_USE)],
  [RestartRefusedError, unavailable('The source failed a moment ago', 'elsewhere')],
  [PublisherFullError, FULL],
  [AdmissionError, FULL],
  [SubscriberLimitError, { status: 429, title: 'Too many viewers', blame: 'here', retryAfterMs: VIEWER_RETRY_MS }],
  [ClosedError, unavailable('This channel is restarted or removed, or this publisher stops', 'here', 1_000)],
  [SourceStartTimeoutError, LATE],
  [SourceLateError, LATE],
  [SourceUntriedError, { ...LATE, blame: 'nobody' }],
  [ReadyTimeoutError, LATE],
  [AcquireTimeoutError, LATE],
  [ProgramNotFoundError, NO_PROGRAM],
  [SpawnError, NO_PROGRAM],
  [ContainmentError, NO_PROGRAM],
  [RelayLoopError, { status: 508, title: 'Publishers relay this channel in a circle', blame: 'source' }],
  [HardwareError, { ...UNENCODED, blame: 'here' }],
  [EncoderStalledError, UNENCODED],
  [TracksUnsteadyError, UNENCODED],
  [NothingToEncodeError, unavailable('The channel gives nothing', 'elsewhere')],
  [EncoderHeldBackError, unavailable('The encoder failed a moment ago', 'here')],
  [LockDirectoryError, UNLOCKED],
  [LockUnsupportedError, UNLOCKED],
  [LockLostError, LOST],
  [LeaseExpiredError, LOST],
  [LockInUseError, LOST],
  [TreeSurvivedError, { ...UNREADABLE, blame: 'elsewhere' }],
];

/** What this host lacks, by the codes of the system and by ffmpeg's words. Without it all sources fail alike. */
const LACKS: readonly (readonly [codes: readonly string[], words: RegExp, said: Kind])[] = [
  [['ENETUNREACH', 'ENETDOWN', 'EADDRNOTAVAIL'], /Network is (unreachable|down)|Cannot assign requested/, NO_NETWORK],
  [['EAI_AGAIN'], /Temporary failure in name resolution/, NO_NAMES],
  [
    ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'],
    /Too many open files|Cannot allocate memory|No buffer space available/,
    SCARCE,
  ],
];

export function kindOf(error: unknown): Kind {
  if (isWrapped(error)) return kindOf(error.cause);
  const known = KINDS.find(([kind]) => error instanceof kind)?.[1] ?? UNREADABLE;
  return known.blame === 'source' ? (kindOfHost(error) ?? known) : known;
}

/** What it tells is told by its cause. */
function isWrapped(error: unknown): error is Error {
  return error instanceof SourcesFailedError || (error instanceof SourceEndedError && error.cause instanceof Error);
}

function kindOfHost(error: unknown): Kind | undefined {
  if (error instanceof ChildExitError) return kindOfExit(error);
  const codes = codesOf(error);
  return LACKS.find(([lacks]) => lacks.some((code) => codes.includes(code)))?.[2];
}

function kindOfExit({ exit: { reason, stderrTail } }: ChildExitError): Kind | undefined {
  if (reason === 'lock-lost' || reason === 'lease-expired') return LOST;
  return LACKS.find(([, words]) => words.test(stderrTail))?.[2];
}

/** Of an error and what caused it. A message may quote what a stranger wrote. */
function codesOf(error: unknown): string[] {
  const codes: string[] = [];
  for (let each = error; each instanceof Error && codes.length < 8; each = each.cause) {
    codes.push(String((each as NodeJS.ErrnoException).code));
  }
  return codes;
}

export function blameOf(error: unknown): Blame {
  return kindOf(error).blame;
}

/** That others have it, that this host is full or lacks something, says nothing about the source. */
export function isFaultOfSource(error: unknown): boolean {
  return blameOf(error) === 'source';
}

const OF_ENCODERS = [
  ...[ChildExitError, ReadyTimeoutError, ServiceEndedError, NotMpegTsError],
  ...[EncoderStalledError, TracksUnsteadyError],
];

/** That an encoder failed, and not what it was to encode, or that there was no place for it. */
export function isFaultOfEncoder(error: unknown): boolean {
  return OF_ENCODERS.some((kind) => error instanceof kind);
}
