import { hostname } from 'node:os';
import {
  AcquireTimeoutError,
  AdmissionError,
  ChildExitError,
  ClosedError,
  HoldfastError,
  LockDirectoryError,
  type LockHolder,
  ReadyTimeoutError,
  RestartRefusedError,
  redactCredentials,
  ServiceEndedError,
  SourceBusyError,
  SourceStartTimeoutError,
  SpawnError,
  SubscriberLimitError,
} from 'holdfast';
import {
  AllTunersInUseError,
  DEVICE_CODES,
  type DeviceClient,
  DeviceError,
  ProgramNotFoundError,
  SystemBusyError,
  TunerInUseError,
  type TunerStatus,
} from '../hdhomerun/index.ts';
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
  TracksUnsteadyError,
} from './errors.ts';

/** When a viewer who finds every tuner taken may try again. */
const TUNER_RETRY_MS = 10_000;
/** And one whom the channel has no room for. */
const VIEWER_RETRY_MS = 10_000;
const STATUS_TIMEOUT_MS = 1_000;

/** Why a channel could not be opened, in the terms of HTTP and for people; no credential is in it. */
export interface Failure {
  readonly status: 409 | 429 | 502 | 503 | 504 | 508;
  readonly title: string;
  readonly detail: string;
  /** The error's code, for programs. */
  readonly code?: string | undefined;
  readonly holder?: LockHolder | undefined;
  readonly retryAfterMs?: number | undefined;
  /** The value of `X-HDHomeRun-Error`. */
  readonly deviceError?: string | undefined;
}

/**
 * Whose fault an error is. Of the `source`: its circuit takes note of it. `elsewhere`: others have the source, or nobody could
 * reach it; that says nothing about it, but another source may do. `here`: of this publisher or this host, so that no other
 * source would do better.
 */
export type Blame = 'source' | 'elsewhere' | 'here';

/** What is said of an error, and whose fault it is. */
interface Kind extends Pick<Failure, 'status' | 'title' | 'deviceError' | 'retryAfterMs'> {
  readonly blame: Blame;
}

const FULL: Kind = {
  ...{ status: 503, title: 'This publisher is full', blame: 'here' },
  ...{ deviceError: '805 All Tuners In Use', retryAfterMs: VIEWER_RETRY_MS },
};
const NO_PROGRAM: Kind = { status: 502, title: 'ffmpeg could not be started', blame: 'here' };
const LATE: Kind = { status: 504, title: 'The source did not start in time', blame: 'source' };
const UNENCODED: Kind = { status: 502, title: 'The stream could not be encoded', blame: 'source' };
const UNREADABLE: Kind = { status: 502, title: 'The source could not be read', blame: 'source' };

const KINDS: readonly (readonly [kind: abstract new (...args: never[]) => Error, said: Kind])[] = [
  [SourceBusyError, { status: 409, title: 'Another process holds this source', blame: 'here' }],
  [NoTunerError, { status: 503, title: 'No tuner is free', blame: 'elsewhere' }],
  [RestartRefusedError, { status: 503, title: 'The source failed a moment ago', blame: 'elsewhere' }],
  [PublisherFullError, FULL],
  [AdmissionError, FULL],
  [SubscriberLimitError, { status: 429, title: 'Too many viewers', blame: 'here', retryAfterMs: VIEWER_RETRY_MS }],
  [ClosedError, { status: 503, title: 'This publisher stops', blame: 'here' }],
  [SourceStartTimeoutError, LATE],
  [SourceLateError, LATE],
  [ReadyTimeoutError, LATE],
  [AcquireTimeoutError, LATE],
  [ProgramNotFoundError, NO_PROGRAM],
  [SpawnError, NO_PROGRAM],
  [RelayLoopError, { status: 508, title: 'Publishers relay this channel in a circle', blame: 'source' }],
  [HardwareError, { ...UNENCODED, blame: 'here' }],
  [EncoderStalledError, UNENCODED],
  [TracksUnsteadyError, UNENCODED],
  [NothingToEncodeError, { status: 503, title: 'The channel gives nothing', blame: 'elsewhere' }],
  [
    EncoderHeldBackError,
    { status: 503, title: 'The encoder failed a moment ago', blame: 'here', deviceError: '807 No Video Data' },
  ],
  [LockDirectoryError, { ...UNREADABLE, blame: 'here' }],
];

const NO_NETWORK: Kind = { status: 503, title: 'This host has no network', blame: 'elsewhere', retryAfterMs: 5_000 };

function kindOf(error: unknown): Kind {
  if (error instanceof SourcesFailedError) return kindOf(error.cause);
  const known = KINDS.find(([kind]) => error instanceof kind)?.[1] ?? UNREADABLE;
  return known.blame === 'source' && isOfNetwork(error) ? NO_NETWORK : known;
}

/** Without a network all sources fail alike. */
function isOfNetwork(error: unknown): boolean {
  const text = error instanceof ChildExitError ? error.exit.stderrTail : error instanceof Error ? error.message : '';
  return /\b(ENETUNREACH|ENETDOWN)\b|Network is (unreachable|down)/.test(text);
}

export function blameOf(error: unknown): Blame {
  return kindOf(error).blame;
}

/** That others have it, that this host is full or lacks something, says nothing about the source. */
export function isFaultOfSource(error: unknown): boolean {
  return blameOf(error) === 'source';
}

/** That an encoder failed, and not what it was to encode, or that there was no place for it. */
export function isFaultOfEncoder(error: unknown): boolean {
  return OF_ENCODERS.some((kind) => error instanceof kind);
}

const OF_ENCODERS = [
  ...[ChildExitError, ReadyTimeoutError, ServiceEndedError, NotMpegTsError],
  ...[EncoderStalledError, TracksUnsteadyError],
];

export function failureOf(error: unknown): Failure {
  if (error instanceof SourcesFailedError) return { ...failureOf(error.cause), ...ownWords(error) };
  const { blame: _, ...said } = kindOf(error);
  const detail = redactCredentials(error instanceof Error ? error.message : String(error));
  const code = error instanceof HoldfastError ? error.code : undefined;
  const { retryAfterMs } = error as { retryAfterMs?: number };
  const exact = retryAfterMs === undefined ? {} : { retryAfterMs: Math.ceil(retryAfterMs) };
  return { ...said, detail, code, ...exact, ...detailsOf(error, detail) };
}

function ownWords({ message, code }: SourcesFailedError): Pick<Failure, 'detail' | 'code'> {
  return { detail: redactCredentials(message), code };
}

function detailsOf(error: unknown, detail: string): Partial<Failure> {
  if (error instanceof SourceBusyError) return { ...conflictOf(error), holder: error.holder };
  if (error instanceof NoTunerError) return { deviceError: error.deviceError };
  if (error instanceof DeviceError && error.deviceCode !== undefined) return { deviceError: saidBy(error.deviceCode) };
  if (error instanceof RestartRefusedError) return refusalOf(error);
  if (error instanceof SubscriberLimitError) return { detail: `${detail}; see --max-viewers` };
  return {};
}

const REFUSALS: Record<RestartRefusedError['why'], string> = {
  'circuit-open': 'The source failed too often',
  storm: 'Too many sources fail',
  cooldown: 'The source failed a moment ago',
  backoff: 'The source failed a moment ago',
};

function refusalOf({ why, retryAfterMs }: RestartRefusedError): Pick<Failure, 'title' | 'detail' | 'deviceError'> {
  const detail = `it is not opened again for ${Math.ceil(retryAfterMs / 1_000)} s (${why})`;
  return { title: REFUSALS[why], detail, deviceError: '807 No Video Data' };
}

/** Two ids of one source are a conflict within this publisher: its own pid and command would tell nobody that. */
function conflictOf({ key, holder }: SourceBusyError): Partial<Failure> {
  const isOurs = holder?.pid === process.pid && holder.host === hostname();
  if (!isOurs) return {};
  const detail = `another channel of this publisher reads ${key} already; watch that one`;
  return { title: 'Another channel of this publisher holds this source', detail };
}

/** What players of an HDHomeRun read in `X-HDHomeRun-Error`. */
function saidBy(deviceCode: number): string {
  return `${deviceCode} ${DEVICE_CODES[deviceCode] ?? ''}`.trim();
}

/**
 * A `NoTunerError` if a refusal means that, else the error itself. Of one that does not tell, by `X-HDHomeRun-Error`, and
 * ffmpeg does not show that, the device is asked what its tuners do.
 */
export async function noTunerErrorOr(
  error: unknown,
  channel: string,
  device: DeviceClient | undefined,
): Promise<unknown> {
  if (isBusy(error)) return new NoTunerError(channel, saidBy(error.deviceCode as number), retryOf(error), error);
  if (!device || !isUnavailable(error)) return error;
  const tuners = await device.status({ timeoutMs: STATUS_TIMEOUT_MS }).catch((): TunerStatus[] => []);
  const allInUse = tuners.length > 0 && tuners.every(({ channel, targetIp }) => channel ?? targetIp);
  return allInUse ? new NoTunerError(channel, '805 All Tuners In Use', TUNER_RETRY_MS, error) : error;
}

function isBusy(error: unknown): error is DeviceError {
  return [AllTunersInUseError, TunerInUseError, SystemBusyError].some((kind) => error instanceof kind);
}

const retryOf = ({ retryAfterMs = TUNER_RETRY_MS }: DeviceError) => retryAfterMs;

function isUnavailable(error: unknown): boolean {
  if (error instanceof DeviceError) return error.status === 503 && error.deviceCode === undefined;
  return error instanceof ChildExitError && /HTTP error 503|Server returned 5XX/.test(error.exit.stderrTail);
}
