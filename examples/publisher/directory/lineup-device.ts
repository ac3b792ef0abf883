import { redactCredentials } from 'holdfast';
import { DeviceClient, type LineupChannel, type TunerStatus } from '../../hdhomerun/index.ts';
import type { ChannelProvider, Offer } from './directory.ts';

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
  readonly #address: string;
  #device: DeviceClient | undefined;
  #lineup: readonly LineupChannel[] = [];
  #refreshedAt: Date | undefined;
  #lastError: string | undefined;
  #status: readonly TunerStatus[] = [];
  #statusAt = Number.NEGATIVE_INFINITY;
  #statusRead: Promise<void> | undefined;

  constructor(address: string) {
    this.#address = address;
    this.name = redactCredentials(address);
  }

  /** Reads the lineup. The description is read again too: another device may have got this address. */
  async offers(signal: AbortSignal): Promise<readonly Offer[]> {
    try {
      const device = await DeviceClient.at(this.#address, { signal, timeoutMs: READ_TIMEOUT_MS });
      this.#lineup = await device.lineup({ signal, timeoutMs: READ_TIMEOUT_MS });
      this.#device = device;
      this.#refreshedAt = new Date();
      this.#lastError = undefined;
      return watchable(this.#lineup).map((channel) => offerOf(channel, device));
    } catch (error) {
      this.#failed(signal.aborted ? signal.reason : error);
      throw error;
    }
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
function offerOf(channel: LineupChannel, device: DeviceClient): Offer {
  const id = channel.number.replace(/[^A-Za-z0-9._-]+/g, '-');
  return {
    ids: [id, `${device.deviceId}-${id}`],
    name: channel.name,
    number: channel.number,
    sources: [{ url: channel.url, device }],
    favorite: channel.favorite,
    hd: channel.hd,
  };
}

function tunerView(tuner: TunerStatus): TunerView['tuners'][number] {
  const { resource, channel = null, channelName = null, targetIp = null } = tuner;
  return { resource, inUse: channel !== null || targetIp !== null, channelNumber: channel, channelName, targetIp };
}
