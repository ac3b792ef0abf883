import { access } from 'node:fs/promises';
import { type DeviceClient, DeviceError, isFreeTuner, type TunerStatus } from '../../hdhomerun/index.ts';
import type { Source } from '../directory/directory.ts';
import { NoTunerError } from '../errors.ts';
import { leave, openHttp } from '../pipeline/http-source.ts';
import { filePath, tunerStream } from '../source-address.ts';

/** Long enough for a device on the same network. */
const ASK_TIMEOUT_MS = 1_000;
/** Viewers wait for it. */
const CHOICE_TIMEOUT_MS = 300;
const RETRY_MS = 10_000;

/** The error that an opening would fail with because others have all tuners that could be used; what does not answer is tried. */
export async function busyTunersOf(
  { url, device }: Source,
  channel: string,
  signal: AbortSignal,
): Promise<NoTunerError | undefined> {
  const tuners = await statusOf(device, ASK_TIMEOUT_MS, signal);
  signal.throwIfAborted();
  const wanted = tunersFor(url, tuners ?? []);
  if (wanted.length === 0 || wanted.some(isFreeTuner)) return undefined;
  const said = wanted.length < (tuners?.length ?? 0) ? '804 Tuner In Use' : '805 All Tuners In Use';
  return new NoTunerError(channel, said, RETRY_MS, undefined);
}

/** How many tuners of its device are free; `undefined` if it does not tell in time. */
export async function freeTunersOf({ url, device }: Source, signal: AbortSignal): Promise<number | undefined> {
  const tuners = await statusOf(device, CHOICE_TIMEOUT_MS, signal);
  return tuners && tunersFor(url, tuners).filter(isFreeTuner).length;
}

/** Of a look at a source that is not read. */
export interface ProbeTerms {
  /** The tuner that is in use will be free for it. */
  readonly isOnSameDevice: boolean;
  readonly signal: AbortSignal;
  /** Of a request for a source. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Whether a source seems well, found out without taking anything from anybody; `undefined` if nobody can tell. A device is
 * asked for a tuner that is free, a server for the head of the stream.
 */
export async function seemsWell({ url, device }: Source, terms: ProbeTerms): Promise<boolean | undefined> {
  if (device) {
    const tuners = await statusOf(device, ASK_TIMEOUT_MS, terms.signal);
    return tuners !== undefined && (terms.isOnSameDevice || tunersFor(url, tuners).some(isFreeTuner));
  }
  const path = filePath(url);
  if (path !== undefined) return isReadable(path);
  // To what has the form of a tuner, even a HEAD may be a tuner.
  if (!/^https?:/i.test(url) || tunerStream(url)) return undefined;
  return answersHead(url, terms);
}

async function isReadable(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** A HEAD is no question of the kind that some servers answer: only that the stream is not there, or that the server fails, tells something. */
async function answersHead(url: string, { signal, headers }: ProbeTerms): Promise<boolean | undefined> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), ASK_TIMEOUT_MS);
  try {
    const answer = await openHttp(url, { method: 'HEAD', headers, signal: AbortSignal.any([signal, late.signal]) });
    if (answer) leave(answer.response);
    return answer && true;
  } catch (error) {
    return error instanceof DeviceError && isUntelling(error) ? undefined : false;
  } finally {
    clearTimeout(timer);
  }
}

function isUntelling({ status = 0 }: DeviceError): boolean {
  return status === 501 || (status >= 400 && status < 500 && status !== 404 && status !== 410);
}

/** A URL may name a tuner. */
function tunersFor(url: string, tuners: readonly TunerStatus[]): readonly TunerStatus[] {
  const [, named] = /\/(tuner\d+)\//.exec(url) ?? [];
  return named === undefined ? tuners : tuners.filter(({ resource }) => resource === named);
}

async function statusOf(
  device: DeviceClient | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<readonly TunerStatus[] | undefined> {
  return device?.status({ timeoutMs, signal }).catch(() => undefined);
}
