import { hostname } from 'node:os';
import {
  ChildExitError,
  HoldfastError,
  type LockHolder,
  RestartRefusedError,
  redactCredentials,
  SourceBusyError,
  SubscriberLimitError,
} from 'holdfast';
import {
  AllTunersInUseError,
  DEVICE_CODES,
  type DeviceClient,
  DeviceError,
  isFreeTuner,
  SystemBusyError,
  TunerInUseError,
  type TunerStatus,
} from '../hdhomerun/index.ts';
import { isOfChannel } from './channel/source-identity.ts';
import { NoTunerError, SourcesFailedError } from './errors.ts';
import { kindOf } from './failure-kinds.ts';

/** When a viewer who finds every tuner taken may try again. */
const TUNER_RETRY_MS = 10_000;
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

function refusalOf({ why, retryAfterMs }: RestartRefusedError): Pick<Failure, 'title' | 'detail'> {
  return { title: REFUSALS[why], detail: `it is not opened again for ${Math.ceil(retryAfterMs / 1_000)} s (${why})` };
}

/** Two ids of one source are a conflict within this publisher: its own pid and command would tell nobody that. */
function conflictOf(error: SourceBusyError): Partial<Failure> {
  const { key, holder } = error;
  const isOurs = holder?.pid === process.pid && holder.host === hostname();
  if (!isOurs) return isOfChannel(error) ? duplicateOf(error) : {};
  const what = isOfChannel(error) ? 'the same sources' : key;
  const already = `another channel of this publisher reads ${what} already; watch that one`;
  return { title: 'Another channel of this publisher holds this source', detail: already };
}

/** A lock by the list of its sources says nothing to people; no child has it, so that its holder is who reads the channel. */
function duplicateOf({ holder }: SourceBusyError): Partial<Failure> {
  const who = holder
    ? `pid ${holder.pid} on ${holder.host} since ${holder.startedAt}: ${holder.command}`
    : 'a process that could not be named';
  const detail = redactCredentials(`a publisher with the same sources reads this channel: ${who}`);
  return { title: 'Another publisher reads this channel', detail };
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
  { device, signal }: { readonly device: DeviceClient | undefined; readonly signal: AbortSignal },
): Promise<unknown> {
  if (isBusy(error)) return new NoTunerError(channel, saidBy(error.deviceCode as number), retryOf(error), error);
  if (!device || !isUnavailable(error)) return error;
  const tuners = await device.status({ timeoutMs: STATUS_TIMEOUT_MS, signal }).catch((): TunerStatus[] => []);
  const allInUse = tuners.length > 0 && !tuners.some(isFreeTuner);
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
