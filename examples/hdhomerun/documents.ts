import { z } from 'zod';
import { DeviceResponseError } from './errors.ts';

/** The JSON documents of a device, checked and in this code's own names. */

export interface DeviceDescription {
  readonly deviceId: string;
  readonly friendlyName: string;
  readonly modelNumber?: string | undefined;
  readonly firmwareVersion?: string | undefined;
  readonly deviceAuth?: string | undefined;
  readonly tunerCount: number;
}

export interface LineupChannel {
  /** `5.1` over the air, `105` on cable. */
  readonly number: string;
  readonly name: string;
  /** Where the device streams it: `http://…:5004/auto/v5.1`. */
  readonly url: string;
  readonly hd: boolean;
  readonly favorite: boolean;
  /** Copy protected: the device will refuse to stream it. */
  readonly drm: boolean;
  readonly videoCodec?: string | undefined;
  readonly audioCodec?: string | undefined;
}

/** One tuner; only `resource` while it is idle. */
export interface TunerStatus {
  readonly resource: string;
  readonly channel?: string | undefined;
  readonly channelName?: string | undefined;
  readonly targetIp?: string | undefined;
  readonly signalStrengthPercent?: number | undefined;
  readonly signalQualityPercent?: number | undefined;
  readonly networkRateBps?: number | undefined;
}

/** Whether nobody has it: it is tuned to nothing and streams to nobody. */
export function isFreeTuner({ channel, targetIp }: TunerStatus): boolean {
  return channel === undefined && targetIp === undefined;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const CONTROL = /[\0-\x1f\x7f-\x9f]+/g;

/** Names are shown in terminals and pages: what is no character of a name is a blank. */
const cleaned = (text: string) => text.replace(CONTROL, ' ').trim();
const text = z.string().max(512).transform(cleaned);

const description = z
  .object({
    DeviceID: z.string().regex(/^[0-9a-f]{8}$/i, 'must be 8 hex digits'),
    FriendlyName: text.default('HDHomeRun'),
    ModelNumber: text.optional(),
    FirmwareVersion: text.optional(),
    DeviceAuth: text.optional(),
    TunerCount: z.number().int().min(0).max(64).default(1),
  })
  .transform(
    (device): DeviceDescription => ({
      deviceId: device.DeviceID.toUpperCase(),
      friendlyName: device.FriendlyName,
      modelNumber: device.ModelNumber,
      firmwareVersion: device.FirmwareVersion,
      deviceAuth: device.DeviceAuth,
      tunerCount: device.TunerCount,
    }),
  );

const flag = z
  .union([z.literal([0, 1]), z.boolean()])
  .default(0)
  .transform(Boolean);

const channel = z
  .object({
    GuideNumber: z.string().max(32).transform(cleaned).pipe(z.string().min(1)),
    GuideName: text.default(''),
    URL: z.url({ protocol: /^https?$/ }).max(2048),
    HD: flag,
    Favorite: flag,
    DRM: flag,
    VideoCodec: text.optional(),
    AudioCodec: text.optional(),
  })
  .transform(
    (entry): LineupChannel => ({
      number: entry.GuideNumber,
      name: entry.GuideName || entry.GuideNumber,
      url: entry.URL,
      hd: entry.HD,
      favorite: entry.Favorite,
      drm: entry.DRM,
      videoCodec: entry.VideoCodec,
      audioCodec: entry.AudioCodec,
    }),
  );

const tunerStatus = z
  .object({
    Resource: text,
    VctNumber: text.optional(),
    VctName: text.optional(),
    TargetIP: text.optional(),
    SignalStrengthPercent: z.number().optional(),
    SignalQualityPercent: z.number().optional(),
    NetworkRate: z.number().optional(),
  })
  .transform(
    (tuner): TunerStatus => ({
      resource: tuner.Resource,
      channel: tuner.VctNumber,
      channelName: tuner.VctName,
      targetIp: tuner.TargetIP,
      signalStrengthPercent: tuner.SignalStrengthPercent,
      signalQualityPercent: tuner.SignalQualityPercent,
      networkRateBps: tuner.NetworkRate,
    }),
  );

export function parseDescription(where: string, json: unknown): DeviceDescription {
  return parse(description, { where, json });
}

export function parseStatus(where: string, json: unknown): TunerStatus[] {
  return parse(z.array(tunerStatus), { where, json });
}

/** An entry that can't be used is left out: one broken channel must not hide all others. Throws if none is left. */
export function parseLineup(where: string, json: unknown): LineupChannel[] {
  const entries = parse(z.array(z.unknown()), { where, json });
  if (entries.length === 0) {
    throw new DeviceResponseError(where, 'the lineup is empty; run a channel scan on the device’s web page');
  }
  const usable = entries.flatMap((entry) => channel.safeParse(entry).data ?? []);
  if (usable.length === 0) parse(channel, { where, json: entries[0] });
  return usable;
}

function parse<T>(schema: z.ZodType<T>, { where, json }: { where: string; json: unknown }): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = issue?.path.join('.') || 'the document';
  throw new DeviceResponseError(where, `${field}: ${issue?.message}; is this an HDHomeRun?`, result.error);
}
