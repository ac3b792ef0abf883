import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';
import { addAbortSignal, type Readable } from 'node:stream';
import { open, readJson, show } from './device-http.ts';
import { type DiscoverOptions, discover } from './discovery.ts';
import type { TunerStatus } from './documents.ts';
import { type DeviceDescription, type LineupChannel, parseDescription, parseLineup, parseStatus } from './documents.ts';
import { DeviceResponseError } from './errors.ts';

const MAX_DOCUMENT_BYTES = 64 * 1024;
/** A cable lineup of a thousand channels is a quarter of this. */
const MAX_LINEUP_BYTES = 1024 * 1024;

export interface DeviceCallOptions {
  readonly signal?: AbortSignal | undefined;
  /** @default 5000 */
  readonly timeoutMs?: number | undefined;
}

export interface StreamUrlOptions {
  /** A tuner by its number. @default whichever is free */
  readonly tuner?: number | undefined;
  /** The device ends the stream after this. @default never */
  readonly durationSeconds?: number | undefined;
}

export interface OpenStreamOptions extends StreamUrlOptions {
  /** Ends the stream too, not only the wait for it. */
  readonly signal?: AbortSignal | undefined;
  /** Until the device has tuned and answers. @default 10000 */
  readonly timeoutMs?: number | undefined;
}

export interface DeviceStream {
  /** MPEG-TS. `destroy()` closes the connection, which frees the tuner. */
  readonly stream: Readable;
  /** The tuner in use: `tuner0`; absent with emulators that don't say. */
  readonly resource?: string;
  readonly url: string;
}

/**
 * An HDHomeRun, or what answers like one. `at` finds it by address, `discover` by asking the network; most callers then
 * want `lineup` and `openStream`, or `streamUrl` of a channel for a program that opens it itself.
 */
export class DeviceClient {
  /** Where its documents are: `http://192.168.1.20/`. */
  readonly baseUrl: string;
  readonly description: DeviceDescription;
  #lineup: readonly LineupChannel[] = [];

  private constructor(baseUrl: string, description: DeviceDescription) {
    this.baseUrl = baseUrl;
    this.description = description;
  }

  get deviceId(): string {
    return this.description.deviceId;
  }

  /**
   * Reads the description of the device at a host name, IP address or URL. Rejects with `DeviceUnreachableError`,
   * `DeviceResponseError` if something else answers, `TypeError` for what is no address, or `signal.reason`.
   */
  static async at(address: string | URL, options: DeviceCallOptions = {}): Promise<DeviceClient> {
    const base = baseUrlOf(address);
    const url = new URL('discover.json', base);
    return new DeviceClient(base.href, parseDescription(show(url), await readDocument(url, options)));
  }

  /** The devices that answer by UDP and then by HTTP. Rejects only if some answered the first and none the second. */
  static async discover(options: DiscoverOptions = {}): Promise<DeviceClient[]> {
    const devices = await discover(options);
    const reached = await Promise.allSettled(
      devices.map(({ baseUrl, address }) => DeviceClient.at(baseUrl ?? address, { signal: options.signal })),
    );
    const clients = reached.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failure = reached.find((result) => result.status === 'rejected');
    if (clients.length === 0 && failure) throw failure.reason;
    return clients;
  }

  /** The channels found by the device's scan. An empty or unusable lineup is a `DeviceResponseError`. */
  async lineup(options: DeviceCallOptions = {}): Promise<readonly LineupChannel[]> {
    const url = new URL('lineup.json', this.baseUrl);
    this.#lineup = parseLineup(show(url), await readDocument(url, { ...options, maxBytes: MAX_LINEUP_BYTES }));
    return this.#lineup;
  }

  /** Whether it looks for channels now, so that its lineup is not complete. Emulators that don't tell never do. */
  async isScanning(options: DeviceCallOptions = {}): Promise<boolean> {
    const url = new URL('lineup_status.json', this.baseUrl);
    try {
      return Number(((await readDocument(url, options)) as { ScanInProgress?: unknown } | null)?.ScanInProgress) === 1;
    } catch {
      options.signal?.throwIfAborted();
      return false;
    }
  }

  /** What each tuner does now. */
  async status(options: DeviceCallOptions = {}): Promise<readonly TunerStatus[]> {
    const url = new URL('status.json', this.baseUrl);
    return parseStatus(show(url), await readDocument(url, options));
  }

  /**
   * Opens a channel by number or lineup entry; takes a tuner until the stream is destroyed. A number is looked up in the
   * lineup, which is read if it has not been. Rejects with a `DeviceError` (`AllTunersInUseError`, …) if the device
   * refuses.
   */
  async openStream(channel: string | LineupChannel, options: OpenStreamOptions = {}): Promise<DeviceStream> {
    const { signal, timeoutMs = 10_000 } = options;
    const entry = typeof channel === 'string' ? await this.#find(channel, { signal }) : channel;
    const url = new URL(streamUrl(entry, options));
    const stream = await open(url, { signal, timeoutMs });
    checkIsStream(url, stream);
    if (signal) addAbortSignal(signal, stream);
    const resource = stream.headers['x-hdhomerun-resource'];
    return { stream, url: show(url), ...(typeof resource === 'string' && { resource }) };
  }

  /** Unknown numbers are left for the device to refuse: its lineup may be newer than ours. */
  async #find(number: string, options: DeviceCallOptions): Promise<Pick<LineupChannel, 'url'>> {
    if (this.#lineup.length === 0) await this.lineup(options);
    const found = this.#lineup.find((entry) => entry.number === number);
    const any = this.#lineup[0] as LineupChannel;
    return found ?? { url: new URL(`/auto/v${encodeURIComponent(number)}`, any.url).href };
  }
}

/** Where a channel is streamed, for one tuner or a limited time if asked for. */
export function streamUrl(channel: Pick<LineupChannel, 'url'>, options: StreamUrlOptions = {}): string {
  const url = new URL(channel.url);
  const { tuner, durationSeconds } = options;
  if (tuner !== undefined) url.pathname = url.pathname.replace(/^\/(auto|tuner\d+)\//, `/tuner${tuner}/`);
  if (durationSeconds !== undefined) url.searchParams.set('duration', String(durationSeconds));
  return url.href;
}

function readDocument(url: URL, options: DeviceCallOptions & { readonly maxBytes?: number }): Promise<unknown> {
  const { signal, timeoutMs = 5000, maxBytes = MAX_DOCUMENT_BYTES } = options;
  return readJson(url, { signal, timeoutMs, maxBytes });
}

function baseUrlOf(address: string | URL): URL {
  const text = String(address);
  const host = isIPv6(text) ? `[${text}]` : text;
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `http://${host}`);
  if (url?.protocol !== 'http:') {
    throw new TypeError(`a device's address must be a host name, an IP address or an http URL, received ${text}`);
  }
  return new URL('/', url);
}

/** Login pages and error documents come with status 200 too. */
function checkIsStream(url: URL, response: IncomingMessage): void {
  const type = response.headers['content-type'] ?? '';
  if (!/^(text\/|application\/(json|xml))/.test(type)) return;
  response.on('error', () => {}).destroy();
  throw new DeviceResponseError(show(url), `it is ${type}, no MPEG-TS`);
}
