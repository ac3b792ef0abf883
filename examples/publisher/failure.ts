import { hostname } from 'node:os';
import {
  ChildExitError,
  HoldfastError,
  type LockHolder,
  ReadyTimeoutError,
  redactCredentials,
  SourceBusyError,
  SourceStartTimeoutError,
  SubscriberLimitError,
} from 'holdfast';
import type { DeviceClient, TunerStatus } from '../hdhomerun/index.ts';
import { NoTunerError } from './errors.ts';

/** When a viewer who finds every tuner taken may try again. */
const TUNER_RETRY_MS = 10_000;
const STATUS_TIMEOUT_MS = 1_000;

/** Why a channel could not be opened, in the terms of HTTP and for people; no credential is in it. */
export interface Failure {
  readonly status: 409 | 429 | 502 | 503 | 504;
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
  const detail = redactCredentials(error instanceof Error ? error.message : String(error));
  const code = error instanceof HoldfastError ? error.code : undefined;
  const { retryAfterMs } = error as { retryAfterMs?: number };
  const common = { detail, code, retryAfterMs };
  if (error instanceof SourceBusyError) return { ...common, ...conflictOf(error), status: 409, holder: error.holder };
  if (error instanceof NoTunerError) {
    return { ...common, status: 503, title: 'No tuner is free', deviceError: error.deviceError };
  }
  if (error instanceof SubscriberLimitError) return { ...common, status: 429, title: 'Too many viewers' };
  if (error instanceof SourceStartTimeoutError || error instanceof ReadyTimeoutError) {
    return { ...common, status: 504, title: 'The source did not start in time' };
  }
  return { ...common, status: 502, title: 'The source could not be read' };
}

/** Two ids of one source are a conflict within this publisher: its own pid and command would tell nobody that. */
function conflictOf({ key, holder }: SourceBusyError): Partial<Failure> & Pick<Failure, 'title'> {
  const isOurs = holder?.pid === process.pid && holder.host === hostname();
  if (!isOurs) return { title: 'Another process holds this source' };
  const detail = `another channel of this publisher reads ${key} already; watch that one`;
  return { title: 'Another channel of this publisher holds this source', detail };
}

/**
 * A `NoTunerError` if the end of ffmpeg means that, else the error itself: ffmpeg shows the status of a refusal but not
 * `X-HDHomeRun-Error`, so the device is asked what its tuners do.
 */
export async function noTunerErrorOr(
  error: unknown,
  channel: string,
  device: DeviceClient | undefined,
): Promise<unknown> {
  if (!device || !isUnavailable(error)) return error;
  const tuners = await device.status({ timeoutMs: STATUS_TIMEOUT_MS }).catch((): TunerStatus[] => []);
  const allInUse = tuners.length > 0 && tuners.every(({ channel, targetIp }) => channel ?? targetIp);
  return allInUse ? new NoTunerError(channel, '805 All Tuners In Use', TUNER_RETRY_MS, error) : error;
}

function isUnavailable(error: unknown): boolean {
  return error instanceof ChildExitError && /HTTP error 503|Server returned 5XX/.test(error.exit.stderrTail);
}
