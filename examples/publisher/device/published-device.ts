import { hostname } from 'node:os';
import type { DeviceClient, ServedChannel, ServedDevice, ServedTuner } from '../../hdhomerun/index.ts';
import type { Channel } from '../channel/channel.ts';
import type { Channels } from '../channel/channels.ts';
import type { Config } from '../config/config.ts';
import type { Logger } from '../log.ts';
import { type Identity, identityOf } from './identity.ts';
import { Lineup, type LineupEntry } from './lineup.ts';
import { Scanner } from './scanner.ts';
import { type VirtualTuner, VirtualTuners } from './virtual-tuners.ts';

/** What a publisher's device is made of. */
export interface DeviceParts {
  readonly channels: Channels;
  /** Asked whenever it matters: a reload changes it. */
  readonly config: () => Config;
  /** Asks every provider for its channels now. */
  readonly refresh: () => Promise<unknown>;
}

/** The model that clients know to transcode, as this one does. */
const MODEL = { modelNumber: 'HDTC-2US', firmwareName: 'hdhomeruntc_atsc', firmwareVersion: '20250506' };
/** As many as a discovery packet and players can bear. */
const MAX_TUNERS = 64;

/** This publisher as an HDHomeRun: who it is, what it has, and what it does now. */
export class PublishedDevice {
  readonly lineup: Lineup;
  readonly tuners: VirtualTuners;
  readonly scanner: Scanner;
  readonly #identity: Identity;
  readonly #parts: DeviceParts;

  /** @param stateDirectory where its identity and what players said of channels are kept */
  static async create(parts: DeviceParts, stateDirectory: string, log: Logger): Promise<PublishedDevice> {
    const identity = await identityOf(stateDirectory, log);
    return new PublishedDevice(parts, identity, new Lineup(parts.channels, stateDirectory, log));
  }

  private constructor(parts: DeviceParts, identity: Identity, lineup: Lineup) {
    this.#parts = parts;
    this.#identity = identity;
    this.lineup = lineup;
    this.tuners = new VirtualTuners(parts.channels, () => this.#tunerCount);
    this.scanner = new Scanner(parts.refresh, () => parts.channels.size);
  }

  get deviceId(): string {
    return this.#parts.config().deviceId?.toUpperCase() ?? this.#identity.deviceId;
  }

  get served(): ServedDevice {
    const { friendlyName = `holdfast (${hostname()})` } = this.#parts.config();
    const { deviceAuth } = this.#identity;
    return { ...MODEL, friendlyName, deviceId: this.deviceId, deviceAuth, tunerCount: this.#tunerCount };
  }

  /** Those of the devices that are read, each once, and one for each source that needs none. */
  get #tunerCount(): number {
    const { tunerCount } = this.#parts.config();
    if (tunerCount !== undefined) return tunerCount;
    const behind = [...this.#parts.channels].map(({ entry: { sources } }) => sources[0].device);
    const devices = new Map(behind.filter((device) => device !== undefined).map((device) => [device.deviceId, device]));
    const others = behind.filter((device) => device === undefined).length;
    return Math.min(Math.max(others + sum([...devices.values()].map(tunersOf)), 1), MAX_TUNERS);
  }

  /** Without what is copy protected: no player could show it. */
  servedChannels(show: 'found' | 'all' | 'favorites', baseUrl: string): ServedChannel[] {
    const shown = this.lineup.entries.filter((entry) => isShown(entry, show));
    return shown.map(({ channel: { entry }, number, favorite, enabled }) => ({
      number,
      name: entry.name,
      ...{ hd: entry.hd, favorite, enabled },
      url: `${baseUrl}/auto/v${encodeURIComponent(number)}`,
    }));
  }

  servedTuners(): readonly (ServedTuner & { readonly resource: string })[] {
    return this.tuners.states.map((tuner) => ({ resource: tuner.resource, ...this.#servedTuner(tuner) }));
  }

  #servedTuner({ channel, address, rateBps, lock }: VirtualTuner): ServedTuner {
    if (!channel) return { targetIp: lock?.address };
    const percent = receptionOf(channel);
    const { name, id } = channel.entry;
    const signal = { strengthPercent: percent, qualityPercent: percent, symbolQualityPercent: percent };
    const tuned = { number: this.lineup.numberOf(channel) ?? id, name, ...signal };
    return { tuned, targetIp: address, networkRateBps: rateBps };
  }
}

/** There is no antenna: what comes, comes whole. */
export function receptionOf(channel: Channel): number {
  return channel.hub.state === 'live' ? 100 : 0;
}

function isShown({ channel, favorite, enabled }: LineupEntry, show: 'found' | 'all' | 'favorites'): boolean {
  if (isProtected(channel)) return false;
  if (show === 'all') return true;
  return enabled && (show === 'found' || favorite);
}

/** Known since it was opened: the lineup says so of most, which then are no channels here. */
export function isProtected({ lastError }: Channel): boolean {
  return lastError?.deviceError?.startsWith('811') === true;
}

function tunersOf({ description }: DeviceClient): number {
  return description.tunerCount;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
