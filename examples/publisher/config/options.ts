import type { Config } from './schema.ts';

/** How an option is given on the command line, and what it means. */
interface Explained {
  /** Of a flag that takes a value: what it is. */
  readonly value?: string;
  readonly help: string;
}

const MS = '<ms>';
const COUNT = '<count>';

/** What `--help` says of each option, in its order; `(…)` at the end is the default. */
export const OPTIONS: Readonly<Record<keyof Config, Explained>> = {
  port: { value: '<number>', help: 'of the HTTP server, 0 for any free one (8080)' },
  bind: { value: '<address>', help: 'to listen on (127.0.0.1); 0.0.0.0 for every network of this host' },
  advertise: { value: '<url>', help: 'what the addresses given to others begin with' },
  device: { value: '<ip|url>', help: 'publish every channel of an HDHomeRun; may be repeated' },
  source: {
    value: '<id>=<url>',
    help:
      'publish one source: http(s) MPEG-TS, a file (in a loop), or what else ffmpeg reads without further options and ' +
      'MPEG-TS can carry; may be repeated. An id has up to 64 letters, digits, and . _ -; a relative path begins at ' +
      'the working directory',
  },
  peer: { value: '<url>', help: 'publish the channels of another publisher, relayed; may be repeated' },
  channel: { value: '<id>=<json>', help: 'what differs from the lineup for a channel; may be repeated' },
  guide: {
    value: '<url|file|device>',
    help:
      'an XMLTV guide to merge; may be repeated, the dearest first. "device" is that of the makers of the devices, by ' +
      'the internet (api.hdhomerun.com is told the DeviceAuth of each)',
  },
  push: {
    value: '<id>=<json>',
    help:
      'send a channel to an srt, rtmp or udp address; may be repeated. What is secret in it is seen by `ps` of this ' +
      'host alone, as ffmpeg takes it in no other way',
  },
  demo: { help: 'publish a simulated tuner; so without any device, source, peer and configuration' },
  lockDir: { value: '<path>', help: 'where the source locks of this host are (see SourceLock of holdfast)' },
  stateDir: { value: '<path>', help: 'where what outlives a restart is kept' },

  friendlyName: { value: '<text>', help: 'what players call this publisher' },
  deviceId: { value: '<8 hex digits>', help: 'the DeviceID; by default one is made for this installation' },
  tunerCount: { value: COUNT, help: 'how many tuners players are told of (those of the devices)' },
  discovery: {
    value: '<auto|on|off>',
    help: 'answer as an HDHomeRun on UDP and TCP and by SSDP (auto: if the port is free)',
  },
  discoveryPort: { value: '<number>', help: 'of discovery and control (65001)' },

  closeAfterMs: { value: MS, help: 'how long a source is kept after its last viewer (0)' },
  startTimeoutMs: { value: MS, help: 'how long a source may take to its first byte (15000)' },
  stallTimeoutMs: { value: MS, help: 'how long a live source may give nothing until it is opened anew (10000)' },
  failoverAfterMs: { value: MS, help: 'how long a source may give nothing if the channel has another (2250)' },
  preferAfterMs: { value: MS, help: 'how long a better source must have been well to be read again (60000)' },
  restartCooldownMs: { value: MS, help: 'the least time between two restarts of one source (30000)' },

  maxProcesses: { value: COUNT, help: 'processes of all channels at a time (32)' },
  maxViewers: { value: COUNT, help: 'viewers of one channel (10000)' },
  maxViewersTotal: { value: COUNT, help: 'viewers of all channels (10000)' },
  maxViewersPerAddress: { value: COUNT, help: 'viewers from one address, or one /64 of IPv6 (256)' },
  trustProxy: {
    value: '<address>',
    help: 'of a reverse proxy, or of its network: who asks is whom it names in X-Forwarded-For; may be repeated',
  },

  hardware: { value: '<auto|none|vaapi|qsv|nvenc|v4l2m2m>', help: 'what encodes (auto: what works here)' },
  deinterlace: { help: 'deinterlace what is encoded (true); --no-deinterlace to leave it' },
  hlsSegmentMs: { value: MS, help: 'the length of a segment of HLS (1000)' },
  hlsSegments: { value: COUNT, help: 'segments in an HLS playlist (8)' },
  hlsRing: { value: '<memory|disk>', help: 'where segments are kept (memory)' },
  hlsIdleMs: {
    value: MS,
    help: 'how long a viewer of HLS stays one after its last request, three target durations at least (15000)',
  },
  preview: { help: 'show pictures of watched channels on the dashboard (true); --no-preview for none' },

  operatorToken: { value: '<text>', help: 'allows to restart and stop channels; without one nobody may' },
  operatorTokenFile: { value: '<file>', help: 'holds the operator token, which no list of processes shows then' },
  publishToken: { value: '<text>', help: 'allows other publishers to announce their channels; without one none may' },
  publishTokenFile: { value: '<file>', help: 'holds the publish token' },
  log: { value: '<pretty|json>', help: 'lines for people, or one JSON object per record (pretty)' },
  logLevel: { value: '<debug|info|warn|error>', help: 'the least that is logged (info)' },
};

/** Options that are lists, and those that are objects by id: what several places say of them is joined. */
export const LISTS = ['device', 'peer', 'guide', 'trustProxy'] as const;
export const OBJECTS = ['source', 'channel', 'push'] as const;

export function isNumeric(option: string): boolean {
  return [MS, COUNT, '<number>'].includes(OPTIONS[option as keyof Config].value as string);
}

export function isYesNo(option: string): boolean {
  return OPTIONS[option as keyof Config].value === undefined;
}

export const variableOf = (option: string): string =>
  `HOLDFAST_PUBLISHER_${option.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

export const flagOf = (option: string): string =>
  `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
