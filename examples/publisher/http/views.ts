import { type LockHolder, type RestartRefusedError, redactCredentials } from 'holdfast';
import type { Channel } from '../channel/channel.ts';
import type { SourceView } from '../channel/channel-source.ts';
import type { Switch } from '../channel/switches.ts';
import { type DirectoryEntry, isStale } from '../directory/directory.ts';
import type { Failure } from '../failure.ts';
import { toTheSecond } from '../to-the-second.ts';
import { adviceFor } from './advice.ts';

/** The JSON of the API. No credential is in it. */

export interface ChannelView {
  readonly id: string;
  readonly name: string;
  readonly number: string | null;
  readonly url: string;
  readonly state: string;
  /** Of its stream, its profiles and its HLS together. */
  readonly viewers: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly liveSince: string | null;
  readonly source: string;
  readonly available: boolean;
  readonly holder: LockHolder | null;
  /** Why nobody who comes now would see it, and for how long at least. */
  readonly refusal: { readonly why: string; readonly retryAfterMs: number; readonly retryAt: string } | null;
  readonly lastError: {
    readonly at: string;
    readonly title: string;
    readonly detail: string;
    readonly advice: string;
  } | null;
  readonly favorite: boolean;
  readonly hd: boolean;
  /** How often its source was opened and failed, since the channel is known. */
  readonly openings: number;
  readonly failures: number;
  /** What is read now, and by which tuner. */
  readonly reading: { readonly source: string; readonly resource: string | null; readonly index: number } | null;
  /** Every source in order of preference, and how it is. */
  readonly sources: readonly SourceView[];
  /** The last changes from one source to another. */
  readonly switches: readonly Switch[];
  /** Of its pictures and its sound, as it was read last; empty as long as they are not known. */
  readonly codecs: readonly string[];
  /** Packets that were missing in what came. */
  readonly continuityErrors: number;
  /** A picture of what is on, where one is made. */
  readonly preview: string | null;
  readonly programme: { readonly now: ProgrammeView | null; readonly next: ProgrammeView | null } | null;
}

export interface ProgrammeView {
  readonly title: string;
  readonly start: string;
  readonly stop: string | null;
}

/** What other rooms know of a channel. */
export interface Extras {
  /** Who is served, in whatever form; without it those that its own stream is handed to. */
  readonly viewers?: number | undefined;
  readonly preview?: string | null | undefined;
  readonly programme?: ChannelView['programme'] | undefined;
}

/** @param locks all that are held on this host, by this process or by another. */
export function channelView(channel: Channel, locks: readonly LockHolder[], extras: Extras = {}): ChannelView {
  const { entry, hub, liveSince, lastError, refusal } = channel;
  const { state, subscribers, bytesIn, bytesOut, openings, failures } = hub.stats();
  return {
    id: entry.id,
    name: entry.name,
    number: entry.number,
    url: channelPath(entry.id),
    state,
    viewers: extras.viewers ?? subscribers,
    bytesIn,
    bytesOut,
    liveSince: liveSince?.toISOString() ?? null,
    source: redactCredentials(entry.sources[0].url),
    available: channel.isAvailable,
    holder: locks.find((lock) => channel.isSourceOf(lock)) ?? null,
    refusal: refusal ? refusalView(refusal) : null,
    lastError: lastError ? errorView(lastError) : null,
    favorite: entry.favorite ?? false,
    hd: entry.hd ?? false,
    openings,
    failures,
    reading: channel.reading ?? null,
    sources: channel.sources,
    switches: channel.switches,
    codecs: channel.codecs,
    continuityErrors: channel.continuityErrors,
    preview: extras.preview ?? null,
    programme: extras.programme ?? null,
  };
}

function errorView(error: Failure & { readonly at: Date }): ChannelView['lastError'] {
  const { at, title, detail } = error;
  return { at: at.toISOString(), title, detail, advice: adviceFor(error) };
}

function refusalView({ why, retryAfterMs }: RestartRefusedError): ChannelView['refusal'] {
  return { why, retryAfterMs: Math.ceil(retryAfterMs), retryAt: toTheSecond(retryAfterMs).toISOString() };
}

export interface PublicStream {
  readonly id: string;
  readonly name: string;
  readonly number: string | null;
  readonly url: string;
  readonly available: boolean;
  readonly stale: boolean;
  readonly updatedAt: string;
  readonly expiresAt: string;
  /** The publishers it came through before this one, each by its instance. */
  readonly via: readonly string[];
}

export function publicStream(channel: Channel, baseUrl: string): PublicStream {
  const { id, name, number, updatedAt, expiresAt, via = [] }: DirectoryEntry = channel.entry;
  return {
    id,
    name,
    number,
    url: new URL(channelPath(id), baseUrl).href,
    available: channel.isAvailable,
    stale: isStale(channel.entry),
    updatedAt: updatedAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
    via,
  };
}

export function channelPath(id: string): string {
  return `/channels/${id}.ts`;
}
