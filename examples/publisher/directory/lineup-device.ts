import { redactCredentials } from 'holdfast';
import { DeviceClient, type LineupChannel, type TunerStatus } from '../../hdhomerun/index.ts';
import type { ChannelProvider, Offer } from './directory.ts';
import type { KeptLineup, KeptLineups } from './kept-lineups.ts';
import { type Remembered, remember } from './lineup-memory.ts';

/** How long what the tuners do may be old; the dashboard asks every second, in each open window. */
const STATUS_AGE_MS = 1_000;
const STATUS_TIMEOUT_MS = 1_500;
const READ_TIMEOUT_MS = 3_000;

export interface TunerView {
  readonly id: string;
  readonly url: string;
  readonly reachable: boolean;
  readonly lastError: string | null;
  readonly tuners: readonly {
    readonly resource: string;
    readonly inUse: boolean;
    readonly channelNumber: string | null;
    readonly channelName: string | null;
    readonly targetIp: string | null;
  }[];
  readonly channels: number;
  readonly refreshedAt: string | null;
}

/** An HDHomeRun that was named by its address: the channels in its lineup and what its tuners do. */
export class LineupDevice implements ChannelProvider {
  readonly name: string;
  readonly key: string;
  readonly kind = 'device';
  /** What it had before this program was started; it counts as stale until the device is heard of. */
  readonly initial: readonly Offer[];
  readonly #address: string;
  readonly #kept: KeptLineups | undefined;
  #device: DeviceClient | undefined;
  #lineup: readonly Remembered[] = [];
  #readAt = Number.NEGATIVE_INFINITY;
  #refreshedAt: Date | undefined;
  #lastError: string | undefined;
  #status: readonly TunerStatus[] = [];
  #statusAt = Number.NEGATIVE_INFINITY;
  #statusRead: Promise<void> | undefined;

  /** @param kept where its lineup outlives a restart of this program */
  constructor(address: string, kept?: KeptLineups) {
    this.#address = address;
    this.#kept = kept;
    this.name = redactCredentials(address);
    this.key = `device:${address}`;
    const before = kept?.lineup(address);
    this.#lineup = before?.channels.map((channel) => ({ channel })) ?? [];
    this.initial = before ? keptOffers(before) : [];
  }

  /** The device as it described itself last. */
  get device(): DeviceClient | undefined {
    return this.#device;
  }

  /** Reads the lineup. The description is read again too: another device may have got this address. */
  async offers(signal: AbortSignal): Promise<readonly Offer[]> {
    try {
      const device = await DeviceClient.at(this.#address, { signal, timeoutMs: READ_TIMEOUT_MS });
      await this.#read(device, signal);
      this.#device = device;
      this.#refreshedAt = new Date();
      this.#lastError = undefined;
      return this.#lineup.map((remembered) => offerOf(remembered, device));
    } catch (error) {
      this.#failed(signal.aborted ? signal.reason : error);
      throw error;
    }
  }

  /** What is missing now may be so only while the device scans. */
  async #read(device: DeviceClient, signal: AbortSignal): Promise<void> {
    const options = { signal, timeoutMs: READ_TIMEOUT_MS };
    const read = watchable(await device.lineup(options));
    const before = this.#isSame(device) ? this.#lineup : [];
    const isMissingSome = before.some(({ channel }) => !read.some(({ number }) => number === channel.number));
    const isScanning = isMissingSome && (await device.isScanning(options));
    const now = performance.now();
    this.#lineup = remember(before, { channels: read, isScanning, sinceMs: now - this.#readAt });
    this.#readAt = now;
    const channels = this.#lineup.map(({ channel }) => channel);
    this.#kept?.keep(this.#address, { deviceId: device.deviceId, readAt: new Date().toISOString(), channels });
  }

  /** Another device may have got the address: what that has says nothing about the one before. */
  #isSame({ deviceId }: DeviceClient): boolean {
    const before = this.#device?.deviceId ?? this.#kept?.lineup(this.#address)?.deviceId;
    return before === deviceId;
  }

  /** For the API. What the tuners do is read now, unless that was done a moment ago. */
  async view(): Promise<TunerView> {
    this.#statusRead ??= this.#readStatus().finally(() => {
      this.#statusRead = undefined;
    });
    await this.#statusRead;
    return {
      id: this.#device?.deviceId ?? this.name,
      url: redactCredentials(this.#device?.baseUrl ?? this.#address),
      reachable: this.#device !== undefined && this.#lastError === undefined,
      lastError: this.#lastError ?? null,
      tuners: this.#status.map(tunerView),
      channels: this.#lineup.length,
      refreshedAt: this.#refreshedAt?.toISOString() ?? null,
    };
  }

  async #readStatus(): Promise<void> {
    if (performance.now() - this.#statusAt < STATUS_AGE_MS) return;
    try {
      this.#status = (await this.#device?.status({ timeoutMs: STATUS_TIMEOUT_MS })) ?? [];
    } catch (error) {
      this.#status = [];
      this.#failed(error);
    }
    this.#statusAt = performance.now();
  }

  #failed(error: unknown): void {
    this.#lastError = redactCredentials(error instanceof Error ? error.message : String(error));
  }
}

/** Without what the device will refuse to stream, and each number once. */
function watchable(lineup: readonly LineupChannel[]): readonly LineupChannel[] {
  const byNumber = new Map(lineup.filter(({ drm }) => !drm).map((channel) => [channel.number, channel]));
  return [...byNumber.values()];
}

/** The number is what people call a channel; where two devices have the same, the device's ID tells them apart. */
function offerOf({ channel, missingMs }: Remembered, device: DeviceClient): Offer {
  const offer = { ...lineupOffer(channel, device.deviceId), sources: [{ url: channel.url, device }] as const };
  // A channel that the lineup does not have now is listed for a while, but nobody is sent to it.
  return missingMs !== undefined ? { ...offer, available: false } : offer;
}

function keptOffers({ channels, deviceId, readAt }: KeptLineup): readonly Offer[] {
  const updatedAt = new Date(readAt);
  return channels.map((channel) => ({ ...lineupOffer(channel, deviceId), updatedAt, expiresAt: updatedAt }));
}

function lineupOffer(channel: LineupChannel, deviceId: string): Offer {
  const { number, name, url, favorite, hd } = channel;
  const id = number.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '') || 'channel';
  const sameAs = `${number} ${name.toLowerCase()}`;
  return { ids: [id, `${deviceId}-${id}`], name, number, sources: [{ url }], favorite, hd, sameAs };
}

function tunerView(tuner: TunerStatus): TunerView['tuners'][number] {
  const { resource, channel = null, channelName = null, targetIp = null } = tuner;
  return { resource, inUse: channel !== null || targetIp !== null, channelNumber: channel, channelName, targetIp };
}
