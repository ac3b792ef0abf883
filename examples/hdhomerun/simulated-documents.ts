import type { SimulatedChannel, SimulatedDevice } from './simulated-device.ts';
import type { TunerHolder, TunerState } from './tuner-bank.ts';

/** The documents of a device: fields and their order as a real one sends them. */

/** How the device is reached by the client that asks. */
export interface Origins {
  readonly http: string;
  readonly stream: string;
}

export function discoverDocument(device: SimulatedDevice, { http }: Origins): object {
  return {
    FriendlyName: device.friendlyName,
    ModelNumber: device.modelNumber,
    FirmwareName: device.firmwareName,
    FirmwareVersion: device.firmwareVersion,
    DeviceID: device.deviceId,
    DeviceAuth: device.deviceAuth,
    BaseURL: http,
    LineupURL: `${http}/lineup.json`,
    TunerCount: device.tuners.count,
  };
}

export function lineupDocument(device: SimulatedDevice, { stream }: Origins): Record<string, string | number>[] {
  return device.channels.map((channel) => ({
    GuideNumber: channel.number,
    GuideName: channel.name,
    VideoCodec: 'H264',
    AudioCodec: 'AAC',
    ...(channel.hd && { HD: 1 }),
    ...(channel.favorite && { Favorite: 1 }),
    ...(channel.drm && { DRM: 1 }),
    URL: `${stream}/auto/v${channel.number}`,
  }));
}

export function lineupXml(device: SimulatedDevice, origins: Origins): string {
  const programs = lineupDocument(device, origins).map((entry) => `<Program>${elements(entry)}</Program>`);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Lineup>${programs.join('')}</Lineup>\n`;
}

function elements(entry: Record<string, string | number>): string {
  return Object.entries(entry)
    .map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`)
    .join('');
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

export function lineupM3u(device: SimulatedDevice, { stream }: Origins): string {
  const entries = device.channels.map((channel) => m3uEntry(channel, stream));
  return ['#EXTM3U', ...entries, ''].join('\n');
}

function m3uEntry({ number, name }: SimulatedChannel, stream: string): string {
  const attributes = `channel-id="${number}" channel-number="${number}" tvg-name="${name}"`;
  return `#EXTINF:-1 ${attributes},${number} ${name}\n${stream}/auto/v${number}`;
}

/** `ScanPossible` must be 1: Plex shows no channels otherwise. */
export function lineupStatusDocument(device: SimulatedDevice): object {
  const progress = device.scanProgress;
  if (progress !== undefined) {
    const found = Math.floor((device.channels.length * progress) / 100);
    return { ScanInProgress: 1, Progress: progress, Found: found };
  }
  return { ScanInProgress: 0, ScanPossible: 1, Source: 'Antenna', SourceList: ['Antenna', 'Cable'] };
}

export function statusDocument(device: SimulatedDevice): object[] {
  return device.tuners.states().map((state) => tunerStatus(device, state));
}

function tunerStatus(device: SimulatedDevice, { resource, holder }: TunerState): object {
  if (!holder) return { Resource: resource };
  return { Resource: resource, ...tuned(device, holder), TargetIP: holder.address };
}

function tuned(device: SimulatedDevice, { channel: number }: TunerHolder): object {
  const channel = device.channelByNumber(number);
  return channel
    ? {
        VctNumber: channel.number,
        VctName: channel.name,
        Frequency: device.frequencyOf(channel),
        SignalStrengthPercent: 98,
        SignalQualityPercent: 97,
        SymbolQualityPercent: 100,
      }
    : {};
}
