import type { Profile } from '../config/schema.ts';
import { profileOfTranscode, TRANSCODE_NAMES } from '../pipeline/profiles.ts';
import type { LineupEntry } from './lineup.ts';
import type { PublishedDevice } from './published-device.ts';
import { type Refusal, refusal } from './refusals.ts';

/** What a player wants by `/auto/v5.1?duration=60&transcode=mobile`. */
export interface StreamRequest {
  readonly entry: LineupEntry;
  /** Of our profiles, that which comes closest to what was asked for. */
  readonly profile: Profile;
  /** Infinity: until the player leaves. */
  readonly durationMs: number;
}

/** Longer is as long as it likes: timers end here. */
const LONGEST_SECONDS = 2_000_000;

/** @param name `v5.1`; channels by frequency are unknown here, as nothing is tuned */
export function streamRequestOf(
  device: PublishedDevice,
  name: string,
  query: URLSearchParams,
): StreamRequest | Refusal {
  const entry = name.startsWith('v') ? device.lineup.find(name.slice(1)) : undefined;
  if (!entry) return refusal(404, 801, `no channel is ${name.slice(0, 40)}; see /lineup.json`);
  const transcode = query.get('transcode');
  const profile = transcode === null ? (entry.channel.entry.profile ?? 'copy') : profileOfTranscode(transcode);
  if (!profile) return refusal(404, 802, `transcode must be one of ${TRANSCODE_NAMES.join(', ')}`);
  const durationMs = durationOf(query.get('duration'));
  return durationMs === undefined ? badDuration : { entry, profile, durationMs };
}

export function isRefusal(outcome: object): outcome is Refusal {
  return 'status' in outcome;
}

const badDuration: Refusal = {
  ...{ status: 400, title: 'Bad request' },
  detail: 'duration must be a whole number of seconds from 1 on',
};

function durationOf(text: string | null): number | undefined {
  if (text === null) return Number.POSITIVE_INFINITY;
  if (!/^\d{1,9}$/.test(text) || Number(text) === 0) return undefined;
  return Number(text) > LONGEST_SECONDS ? Number.POSITIVE_INFINITY : Number(text) * 1_000;
}
