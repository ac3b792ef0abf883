import { access } from 'node:fs/promises';
import type { DeviceClient, TunerStatus } from '../../hdhomerun/index.ts';
import type { Source } from '../directory/directory.ts';
import { NoTunerError } from '../errors.ts';
import { filePath } from '../pipeline/encoder-arguments.ts';
import { isTunerStream } from './source-identity.ts';

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
  if (wanted.length === 0 || wanted.some(isFree)) return undefined;
  const said = wanted.length < (tuners?.length ?? 0) ? '804 Tuner In Use' : '805 All Tuners In Use';
  return new NoTunerError(channel, said, RETRY_MS, undefined);
}

/** How many tuners of its device are free; `undefined` if it does not tell in time. */
export async function freeTunersOf({ url, device }: Source, signal: AbortSignal): Promise<number | undefined> {
  const tuners = await statusOf(device, CHOICE_TIMEOUT_MS, signal);
  return tuners && tunersFor(url, tuners).filter(isFree).length;
}

/**
 * Whether a source seems well, found out without taking anything from anybody; `undefined` if nobody can tell. A device is
 * asked for a tuner that is free (`isOnSameDevice`: the tuner that is in use will be), a server for the head of the stream.
 */
export async function seemsWell(
  { url, device }: Source,
  { isOnSameDevice, signal }: { readonly isOnSameDevice: boolean; readonly signal: AbortSignal },
): Promise<boolean | undefined> {
  if (device) {
    const tuners = await statusOf(device, ASK_TIMEOUT_MS, signal);
    return tuners !== undefined && (isOnSameDevice || tunersFor(url, tuners).some(isFree));
  }
  const path = filePath(url);
  if (path !== undefined) return isReadable(path);
  // To what has the form of a tuner, even a HEAD may be a tuner.
  if (!/^https?:/i.test(url) || isTunerStream(url)) return undefined;
  return answersHead(url, signal);
}

async function isReadable(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** 405 and 501 say only that it does not know HEAD. */
async function answersHead(address: string, signal: AbortSignal): Promise<boolean | undefined> {
  const url = new URL(address);
  const headers = new Headers();
  if (url.username !== '' || url.password !== '') {
    const text = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers.set('Authorization', `Basic ${Buffer.from(text).toString('base64')}`);
    url.username = '';
    url.password = '';
  }
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ASK_TIMEOUT_MS)]);
    const { ok, status } = await fetch(url, { method: 'HEAD', headers, signal: limit });
    return status === 405 || status === 501 ? undefined : ok;
  } catch {
    return false;
  }
}

/** A URL may name a tuner. */
function tunersFor(url: string, tuners: readonly TunerStatus[]): readonly TunerStatus[] {
  const [, named] = /\/(tuner\d+)\//.exec(url) ?? [];
  return named === undefined ? tuners : tuners.filter(({ resource }) => resource === named);
}

const isFree = ({ channel, targetIp }: TunerStatus) => channel === undefined && targetIp === undefined;

async function statusOf(
  device: DeviceClient | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<readonly TunerStatus[] | undefined> {
  return device?.status({ timeoutMs, signal }).catch(() => undefined);
}
