/** The documents of a device as they are served: fields and their order as a real one sends them. */

/** What a device says of itself. */
export interface ServedDevice {
  readonly friendlyName: string;
  readonly modelNumber: string;
  readonly firmwareName: string;
  readonly firmwareVersion: string;
  readonly deviceId: string;
  readonly deviceAuth: string;
  readonly tunerCount: number;
}

export interface ServedChannel {
  readonly number: string;
  readonly name: string;
  /** Where it is streamed. */
  readonly url: string;
  readonly videoCodec?: string | undefined;
  readonly audioCodec?: string | undefined;
  readonly hd?: boolean | undefined;
  readonly favorite?: boolean | undefined;
  readonly drm?: boolean | undefined;
  /** @default true */
  readonly enabled?: boolean | undefined;
}

/** What a tuner is tuned to, and how well it is received. */
export interface Tuned {
  readonly number: string;
  readonly name: string;
  readonly frequencyHz?: number | undefined;
  readonly strengthPercent: number;
  readonly qualityPercent: number;
  readonly symbolQualityPercent: number;
}

/** What a tuner does; nothing of it while it is idle. */
export interface ServedTuner {
  readonly tuned?: Tuned | undefined;
  /** Who has it. */
  readonly targetIp?: string | undefined;
  readonly networkRateBps?: number | undefined;
}

/** @param baseUrl of the device as who asks reaches it, without a slash at its end */
export function discoverDocument(device: ServedDevice, baseUrl: string): object {
  return {
    FriendlyName: device.friendlyName,
    ModelNumber: device.modelNumber,
    FirmwareName: device.firmwareName,
    FirmwareVersion: device.firmwareVersion,
    DeviceID: device.deviceId,
    DeviceAuth: device.deviceAuth,
    BaseURL: baseUrl,
    LineupURL: `${baseUrl}/lineup.json`,
    TunerCount: device.tunerCount,
  };
}

type LineupItem = Readonly<Record<string, string | number>>;

export function lineupDocument(channels: readonly ServedChannel[]): LineupItem[] {
  return channels.map((channel) => ({
    GuideNumber: channel.number,
    GuideName: oneLine(channel.name),
    ...(channel.videoCodec && { VideoCodec: channel.videoCodec }),
    ...(channel.audioCodec && { AudioCodec: channel.audioCodec }),
    ...(channel.hd && { HD: 1 }),
    ...(channel.favorite && { Favorite: 1 }),
    ...(channel.enabled === false && { Enabled: 0 }),
    ...(channel.drm && { DRM: 1 }),
    URL: channel.url,
  }));
}

export function lineupXml(channels: readonly ServedChannel[]): string {
  const programs = lineupDocument(channels).map((item) => `<Program>${elements(item)}</Program>`);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Lineup>${programs.join('')}</Lineup>\n`;
}

function elements(item: LineupItem): string {
  return Object.entries(item)
    .map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`)
    .join('');
}

export function lineupM3u(channels: readonly ServedChannel[]): string {
  return ['#EXTM3U', ...channels.map(m3uEntry), ''].join('\n');
}

function m3uEntry({ number, name, url }: ServedChannel): string {
  const shown = oneLine(name).replaceAll('"', "'");
  const attributes = `channel-id="${number}" channel-number="${number}" tvg-name="${shown}"`;
  return `#EXTINF:-1 ${attributes},${number} ${shown}\n${url}`;
}

/** A scan that runs. */
export interface Scan {
  readonly progressPercent: number;
  readonly found: number;
}

/** `ScanPossible` must be 1: Plex shows no channels otherwise. */
export function lineupStatusDocument(scan: Scan | undefined): object {
  if (scan) return { ScanInProgress: 1, Progress: scan.progressPercent, Found: scan.found };
  return { ScanInProgress: 0, ScanPossible: 1, Source: 'Antenna', SourceList: ['Antenna', 'Cable'] };
}

export function tunerDocument(resource: string, { tuned, targetIp, networkRateBps }: ServedTuner): object {
  return {
    Resource: resource,
    ...(tuned && tunedFields(tuned)),
    ...(targetIp !== undefined && { TargetIP: targetIp }),
    ...(networkRateBps !== undefined && { NetworkRate: networkRateBps }),
  };
}

function tunedFields(tuned: Tuned): object {
  return {
    VctNumber: tuned.number,
    VctName: oneLine(tuned.name),
    ...(tuned.frequencyHz !== undefined && { Frequency: tuned.frequencyHz }),
    SignalStrengthPercent: tuned.strengthPercent,
    SignalQualityPercent: tuned.qualityPercent,
    SymbolQualityPercent: tuned.symbolQualityPercent,
  };
}

/** UPnP's description of the device, which Plex reads. */
export function deviceXml(device: ServedDevice, baseUrl: string): string {
  const { friendlyName, modelNumber, deviceId } = device;
  const described = {
    deviceType: MEDIA_SERVER,
    friendlyName,
    manufacturer: 'Silicondust',
    modelName: modelNumber,
    modelNumber,
    serialNumber: deviceId,
    UDN: `uuid:${deviceUuid(deviceId)}`,
    presentationURL: `${baseUrl}/`,
  };
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n<root xmlns="urn:schemas-upnp-org:device-1-0">' +
    '<specVersion><major>1</major><minor>0</minor></specVersion>' +
    `<URLBase>${escapeXml(baseUrl)}</URLBase><device>${elements(described)}</device></root>\n`
  );
}

export const MEDIA_SERVER = 'urn:schemas-upnp-org:device:MediaServer:1';

/** Always the same for a DeviceID, which thus is told in every kind of discovery. */
export function deviceUuid(deviceId: string): string {
  return `00000000-0000-1000-8000-0000${deviceId.toLowerCase()}`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const CONTROL = /[\0-\x1f\x7f-\x9f\u2028\u2029]+/g;

/** A line break in a name would begin another entry of a playlist; XML allows no other control character either. */
function oneLine(text: string): string {
  return text.toWellFormed().replace(CONTROL, ' ').trim();
}

function escapeXml(text: string): string {
  return oneLine(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
