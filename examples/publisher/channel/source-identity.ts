import { createHash } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { SourceBusyError } from 'holdfast';
import { DeviceClient, hdhomerunSource } from '../../hdhomerun/index.ts';
import type { Source } from '../directory/directory.ts';
import { keyOf, type TunerStream, tunerStream } from '../source-address.ts';

/** Long enough for a device on the same network; a device that hangs costs a viewer no more than this. */
const ASK_TIMEOUT_MS = 1_000;
const CHANNEL = 'holdfast-publisher:channel/';

/** A source as it is known to the host's locks. */
export interface SourceIdentity {
  /** Every name of it; whoever holds one of them reads this source. */
  readonly names: readonly string[];
  /** The HDHomeRun that streams it. */
  readonly device?: DeviceClient | undefined;
}

/**
 * All names of a source: its URL, and, if an HDHomeRun streams it, the device's ID with the channel, and the stream's
 * address by number. So `/auto/v5.1`, `/tuner0/v5.1`, a host name and an IP address are one source, for a publisher that
 * was given the device and for one that was given only the URL. Rejects with `signal.reason`; what does not answer in
 * time is left out.
 */
export async function identify(
  url: string,
  known: DeviceClient | undefined,
  signal: AbortSignal,
): Promise<SourceIdentity> {
  const stream = tunerStream(url);
  if (!stream) return { names: [url], device: known };
  const [addresses, device] = await Promise.all([
    addressesOf(stream.url, signal),
    known ?? deviceAt(stream.url, signal),
  ]);
  signal.throwIfAborted();
  const byAddress = addresses.map((address) => addressName(stream, address));
  return { names: [...namesOf(url, device), ...byAddress], device };
}

/** The names of a source that are known without asking anybody. */
export function namesOf(url: string, device: DeviceClient | undefined): string[] {
  const stream = tunerStream(url);
  return device && stream ? [url, hdhomerunSource(device.deviceId, stream.channel)] : [url];
}

/**
 * What a channel of several sources is locked by as well, whichever of them it reads: a publisher that has the same in the
 * same order is another of this one, and is not to take the source that this one may need next.
 */
export function channelNames(sources: readonly { readonly key: string }[]): string[] {
  if (sources.length < 2) return [];
  const hash = createHash('sha256').update(sources.map(({ key }) => key).join('\n'));
  return [`${CHANNEL}${hash.digest('hex').slice(0, 16)}`];
}

/** Whether that is what could not be locked: it is the whole channel that is read by another. */
export function isOfChannel(error: unknown): error is SourceBusyError {
  return error instanceof SourceBusyError && error.key.startsWith(`url:${CHANNEL}`);
}

/** What a source is known by, wherever its device is. */
function identityOf({ url, device }: Source): string {
  const stream = device && tunerStream(url);
  return stream ? hdhomerunSource(device.deviceId, stream.channel) : (keyOf(url) ?? url);
}

/** The sources of a channel with their ranks. A channel that several devices have is as good on each of them. */
export function ranked(sources: readonly Source[]): { key: string; rank: number; source: Source }[] {
  const listed: { key: string; rank: number; source: Source }[] = [];
  for (const source of sources) {
    const key = identityOf(source);
    const last = listed.at(-1);
    if (listed.some((other) => other.key === key)) continue;
    const isEqual = source.device !== undefined && last?.source.device !== undefined;
    listed.push({ key, source, rank: (last?.rank ?? 0) + (last === undefined || isEqual ? 0 : 1) });
  }
  return listed;
}

function addressName({ url, channel }: TunerStream, address: string): string {
  const host = address.includes(':') ? `[${address}]` : address;
  return `http://${host}:${url.port || 80}/auto/v${channel}`;
}

/** All of them, as another publisher may have been given any; none if the name can't be resolved in time. */
async function addressesOf({ hostname }: URL, signal: AbortSignal): Promise<string[]> {
  const { promise: none, resolve } = Promise.withResolvers<[]>();
  const giveUp = () => resolve([]);
  const timer = setTimeout(giveUp, ASK_TIMEOUT_MS);
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    const found = await Promise.race([lookup(hostname.replace(/^\[|\]$/g, ''), { all: true }), none]);
    return found.map(({ address }) => address);
  } catch {
    return [];
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', giveUp);
  }
}

/** The device behind a stream: it describes itself on port 80, others of its kind on the port that they stream from. */
async function deviceAt(url: URL, signal: AbortSignal): Promise<DeviceClient | undefined> {
  const places = [url.origin, `http://${url.hostname}`];
  try {
    return await Promise.any(places.map((place) => DeviceClient.at(place, { signal, timeoutMs: ASK_TIMEOUT_MS })));
  } catch {
    return undefined;
  }
}
