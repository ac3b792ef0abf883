import { fileURLToPath } from 'node:url';
import { sourceKey } from 'holdfast';
import { z } from 'zod';
import { correctedDeviceId, isValidDeviceId } from '../../hdhomerun/index.ts';
import type { LogFormat, LogLevel } from '../log.ts';
import { isProxy } from './proxy-address.ts';

/** What a channel id may be: it is part of a path, and the router takes no longer ones. */
export const CHANNEL_ID: RegExp = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const idForm = 'an id: a letter or digit, then up to 63 letters, digits, and . _ -';

/**
 * What the streams of a channel can be turned into: `copy` is the stream as it comes, `web` has up to 720 lines and plays in
 * browsers, `sd` 480, `low` 360, `tiny` 240, and `audio` has sound alone.
 */
export const PROFILES = ['copy', 'web', 'sd', 'low', 'tiny', 'audio'] as const;
export type Profile = (typeof PROFILES)[number];

const HARDWARE = ['auto', 'none', 'vaapi', 'qsv', 'nvenc', 'v4l2m2m'] as const;
export type Hardware = (typeof HARDWARE)[number];

const text = (what: string) => z.string(what).min(1, what);
const whole = (min: number, max: number) => {
  const what = `a whole number from ${min} to ${max}`;
  return z.int(what).min(min, what).max(max, what);
};
const yesNo = z.boolean('true or false');
const oneOf = <const T extends readonly string[]>(values: T) =>
  z.enum(values, values.map((value) => `"${value}"`).join(' or '));

const tokenForm = 'a text of 16 to 1024 characters without blanks';
const token = z.string(tokenForm).regex(/^[\x21-\x7e]{16,1024}$/, tokenForm);

const addressForm = 'an address that ffmpeg can read: a complete http(s)://… or other URL, or a file';
const url = text(addressForm).refine(hasIdentity, addressForm);
const urls = z.union([url.transform((one) => [one]), z.array(url, 'a list').min(1, 'a list with an address')], {
  error: ({ input }) => (typeof input === 'string' ? addressForm : 'an address, or a list of them'),
});

const sourceFields = { url: urls, name: text('a text').optional(), number: text('a text, such as "5.1"').optional() };
const sourceObject = z.strictObject(sourceFields);
export const SOURCE_FIELDS: readonly string[] = Object.keys(sourceFields);
const source = z.union([urls.transform((url): SourceConfig => ({ url })), sourceObject], {
  error: ({ input }) =>
    typeof input === 'string' ? addressForm : 'an address, a list of them, or an object with url, name and number',
});

const overrideFields = {
  enabled: yesNo.optional(),
  name: text('a text').optional(),
  number: text('a text, such as "5.1"').optional(),
  favorite: yesNo.optional(),
  /** Further sources, read when those of the lineup fail. */
  backup: urls.optional(),
  /** The id of the channel in the guide. */
  guide: text('a text').optional(),
  profile: oneOf(PROFILES).optional(),
};
export const OVERRIDE_FIELDS: readonly string[] = Object.keys(overrideFields);
const override = z.strictObject(overrideFields, 'an object');

const pushForm = 'an srt:// (which calls: no mode=listener), rtmp(s):// or udp:// URL';
const pushFields = {
  channel: z.string(idForm).regex(CHANNEL_ID, idForm),
  url: z.string(pushForm).refine(isPushTarget, pushForm),
  profile: oneOf(PROFILES).default('copy'),
};
export const PUSH_FIELDS: readonly string[] = Object.keys(pushFields);

const deviceIdForm = '8 hex digits whose last has the checksum of the others';
const deviceForm = 'an IP address, a host name or an http URL';
const proxyForm = 'the IP address or network (10.0.0.0/8) of a reverse proxy';
const advertiseForm = 'an http(s) URL without a password';
const peerForm = 'the http(s) URL of another publisher';
const guideForm = 'the http(s) URL or the file (a path, or file:///path) of an XMLTV document, or "device"';

/** Where one configured channel is read, in order of preference, as the operator wrote it: credentials included. */
interface SourceConfig {
  readonly url: readonly string[];
  readonly name?: string | undefined;
  readonly number?: string | undefined;
}

/** What differs from what the lineup says of a channel. */
export interface ChannelOverride {
  readonly enabled?: boolean | undefined;
  readonly name?: string | undefined;
  readonly number?: string | undefined;
  readonly favorite?: boolean | undefined;
  /** Further sources, read when those of the lineup fail. */
  readonly backup?: readonly string[] | undefined;
  /** The id of the channel in the guide. */
  readonly guide?: string | undefined;
  readonly profile?: Profile | undefined;
}

export interface PushConfig {
  readonly channel: string;
  readonly url: string;
  readonly profile: Profile;
}

type ById<T> = Readonly<Record<string, T>>;

/** What the program was told, with defaults; options.ts says what each means. */
export interface Config {
  readonly port: number;
  readonly bind: string;
  readonly advertise?: string | undefined;
  readonly device: readonly string[];
  readonly source: ById<SourceConfig>;
  readonly peer: readonly string[];
  readonly channel: ById<ChannelOverride>;
  readonly guide: readonly string[];
  readonly push: ById<PushConfig>;
  readonly demo: boolean;
  readonly lockDir?: string | undefined;
  readonly stateDir?: string | undefined;

  readonly friendlyName?: string | undefined;
  readonly deviceId?: string | undefined;
  readonly tunerCount?: number | undefined;
  readonly discovery: 'auto' | 'on' | 'off';
  readonly discoveryPort: number;

  readonly closeAfterMs: number;
  readonly startTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly failoverAfterMs: number;
  readonly preferAfterMs: number;
  readonly restartCooldownMs: number;

  readonly maxProcesses: number;
  readonly maxViewers: number;
  readonly maxViewersTotal: number;
  readonly maxViewersPerAddress: number;
  readonly trustProxy: readonly string[];

  readonly hardware: Hardware;
  readonly deinterlace: boolean;
  readonly hlsSegmentMs: number;
  readonly hlsSegments: number;
  readonly hlsRing: 'memory' | 'disk';
  readonly hlsIdleMs: number;
  readonly preview: boolean;

  readonly operatorToken?: string | undefined;
  readonly operatorTokenFile?: string | undefined;
  readonly publishToken?: string | undefined;
  readonly publishTokenFile?: string | undefined;
  readonly log: LogFormat;
  readonly logLevel: LogLevel;
}

/** Every option of the publisher: fields of the configuration file, in the order in which they are explained. */
export const schema: z.ZodType<Config> = z.strictObject({
  port: whole(0, 65535).default(8080),
  bind: text('an address of this host, such as 127.0.0.1').default('127.0.0.1'),
  advertise: z.string(advertiseForm).refine(isPlainHttpUrl, advertiseForm).optional(),
  device: z.array(z.string(deviceForm).refine(isDevice, deviceForm), 'a list').default([]),
  source: z.record(z.string().regex(CHANNEL_ID, idForm), source, 'an object: id to url').default({}),
  peer: z.array(z.string(peerForm).refine(isHttpUrl, peerForm), 'a list').default([]),
  channel: z.record(z.string().regex(CHANNEL_ID, idForm), override, 'an object: id to what differs').default({}),
  guide: z.array(text(guideForm).refine(isGuide, guideForm), 'a list').default([]),
  push: z
    .record(z.string().regex(CHANNEL_ID, idForm), z.strictObject(pushFields, 'an object'), 'an object')
    .default({}),
  demo: yesNo.default(false),
  lockDir: text('a path').optional(),
  stateDir: text('a path').optional(),

  friendlyName: text('a text of at most 64 characters').max(64, 'a text of at most 64 characters').optional(),
  deviceId: z
    .string(deviceIdForm)
    .regex(/^[0-9A-Fa-f]{8}$/, deviceIdForm)
    .refine(isValidDeviceId, { error: ({ input }) => `${deviceIdForm}; ${correctedDeviceId(String(input))} has` })
    .optional(),
  tunerCount: whole(1, 64).optional(),
  discovery: oneOf(['auto', 'on', 'off']).default('auto'),
  discoveryPort: whole(1, 65535).default(65001),

  closeAfterMs: whole(0, 86_400_000).default(0),
  startTimeoutMs: whole(100, 600_000).default(15_000),
  stallTimeoutMs: whole(100, 600_000).default(10_000),
  failoverAfterMs: whole(100, 600_000).default(2_250),
  preferAfterMs: whole(1_000, 86_400_000).default(60_000),
  restartCooldownMs: whole(0, 86_400_000).default(30_000),

  maxProcesses: whole(1, 10_000).default(32),
  maxViewers: whole(1, 1_000_000).default(10_000),
  maxViewersTotal: whole(1, 1_000_000).default(10_000),
  maxViewersPerAddress: whole(1, 1_000_000).default(256),
  trustProxy: z.array(z.string(proxyForm).refine(isProxy, proxyForm), 'a list').default([]),

  hardware: oneOf(HARDWARE).default('auto'),
  deinterlace: yesNo.default(true),
  hlsSegmentMs: whole(500, 10_000).default(1_000),
  hlsSegments: whole(3, 60).default(8),
  hlsRing: oneOf(['memory', 'disk']).default('memory'),
  hlsIdleMs: whole(1_000, 600_000).default(15_000),
  preview: yesNo.default(true),

  operatorToken: token.optional(),
  operatorTokenFile: text('a path').optional(),
  publishToken: token.optional(),
  publishTokenFile: text('a path').optional(),
  log: oneOf(['pretty', 'json']).default('pretty'),
  logLevel: oneOf(['debug', 'info', 'warn', 'error']).default('info'),
});

/** What can't be told apart from other sources can't be locked. A file that can't be looked at now may be later. */
function hasIdentity(url: string): boolean {
  try {
    return url !== '' && sourceKey(url) !== '';
  } catch (error) {
    return !(error instanceof TypeError);
  }
}

function isDevice(value: string): boolean {
  const isUrl = value.includes('://');
  return /^[^\s/]+$/.test(isUrl ? 'x' : value) && urlOf(isUrl ? value : `http://${value}`)?.protocol === 'http:';
}

function isHttpUrl(value: string): boolean {
  return /^https?:$/.test(urlOf(value)?.protocol ?? '');
}

/** A file on another host can't be read by its URL. What has another scheme is no path, whatever else it is. */
function isGuide(value: string): boolean {
  if (/^https?:/i.test(value)) return isHttpUrl(value);
  if (!/^file:/i.test(value)) return !/^[a-z][a-z0-9+.-]+:\/\//i.test(value);
  try {
    return fileURLToPath(value) !== '';
  } catch {
    return false;
  }
}

function isPlainHttpUrl(value: string): boolean {
  const url = urlOf(value);
  return isHttpUrl(value) && url?.username === '' && url.password === '';
}

/** One that listens would wait for ever for somebody to come. */
function isPushTarget(value: string): boolean {
  const url = urlOf(value);
  const isKnown = /^(srt|rtmps?|udp):$/.test(url?.protocol ?? '') && url?.host !== '' && !/\s/.test(value);
  return isKnown && url?.searchParams.get('mode')?.toLowerCase() !== 'listener';
}

function urlOf(text: string): URL | undefined {
  return URL.parse(text) ?? undefined;
}
