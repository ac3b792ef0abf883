import { join } from 'node:path';
import { z } from 'zod';
import type { LineupChannel } from '../../hdhomerun/index.ts';
import type { Logger } from '../log.ts';
import { JsonFile } from '../state/json-file.ts';
import type { ChannelIds } from './channel-ids.ts';
import { type PeerList, stream } from './peer.ts';

/** What a device had last, and when. */
export interface KeptLineup {
  readonly deviceId: string;
  readonly readAt: string;
  readonly channels: readonly LineupChannel[];
}

interface Kept {
  readonly lineups: Readonly<Record<string, KeptLineup>>;
  readonly peers: Readonly<Record<string, PeerList>>;
  readonly ids: Readonly<Record<string, string>>;
}

const channel: z.ZodType<LineupChannel> = z.object({
  number: z.string(),
  name: z.string(),
  url: z.string(),
  hd: z.boolean(),
  favorite: z.boolean(),
  drm: z.boolean(),
});

const lineup: z.ZodType<KeptLineup> = z.object({
  deviceId: z.string().regex(/^[0-9A-F]{8}$/),
  readAt: z.iso.datetime(),
  channels: z.array(channel),
});

const peer: z.ZodType<PeerList> = z.object({
  readAt: z.iso.datetime(),
  instance: z.string().optional(),
  streams: z.array(stream),
});

const kept: z.ZodType<Kept> = z.object({
  lineups: z.record(z.string(), lineup),
  peers: z.record(z.string(), peer).default({}),
  ids: z.record(z.string(), z.string()),
});

/** More ids than any house has channels; the oldest are forgotten first. */
const MAX_IDS = 10_000;

/**
 * The last lineup of each device, the last list of each peer and the ids of all channels, over a restart of the publisher: a
 * device that is down when it starts has its channels nevertheless, under the ids that people have in their players.
 */
export class KeptLineups implements ChannelIds {
  readonly #file: JsonFile<Kept>;
  readonly #lineups: Map<string, KeptLineup>;
  readonly #peers: Map<string, PeerList>;
  readonly #ids: Map<string, string>;
  /** When things were read last is written at the end only. */
  #isNewer = false;

  constructor(dir: string, log: Logger) {
    this.#file = new JsonFile(join(dir, 'lineups.json'), kept, log);
    const { lineups = {}, peers = {}, ids = {} } = this.#file.read() ?? {};
    this.#lineups = new Map(Object.entries(lineups));
    this.#peers = new Map(Object.entries(peers));
    this.#ids = new Map(Object.entries(ids));
  }

  /** @param address of the device, as the operator wrote it */
  lineup(address: string): KeptLineup | undefined {
    return this.#lineups.get(address);
  }

  /** Written only if it says something new: a disk is not to be worn by a lineup that is read every ten seconds. */
  keep(address: string, lineup: KeptLineup): void {
    this.#put(this.#lineups, address, lineup);
  }

  /** @param url of the peer, as the operator wrote it */
  peer(url: string): PeerList | undefined {
    return this.#peers.get(url);
  }

  /** What the peer has, whether or not it can be had there now. */
  keepPeer(url: string, list: PeerList): void {
    const streams = list.streams.map(({ id, name, number, url, via }) => ({
      ...{ id, name, number, url, via, available: true, stale: false },
    }));
    this.#put(this.#peers, url, { ...list, streams });
  }

  get(own: string): string | undefined {
    return this.#ids.get(own);
  }

  remember(ids: ReadonlyMap<string, string>): void {
    const news = [...ids].filter(([own, id]) => this.#ids.get(own) !== id);
    for (const [own, id] of news) this.#ids.set(own, id);
    for (const own of this.#ids.keys()) if (this.#ids.size > MAX_IDS && !ids.has(own)) this.#ids.delete(own);
    if (news.length > 0) this.#write();
  }

  /** Writes what was left for the end; resolves when all is on the disk. */
  async end(): Promise<void> {
    if (this.#isNewer) this.#write();
    await this.settled();
  }

  /** Resolves when what was written is on the disk. */
  settled(): Promise<void> {
    return this.#file.settled();
  }

  #put<T extends { readonly readAt: string }>(all: Map<string, T>, key: string, now: T): void {
    const { readAt: _, ...before } = all.get(key) ?? { readAt: '' };
    const { readAt: __, ...news } = now;
    all.set(key, now);
    this.#isNewer = true;
    if (JSON.stringify(before) !== JSON.stringify(news)) this.#write();
  }

  #write(): void {
    this.#isNewer = false;
    void this.#file.write({
      lineups: Object.fromEntries(this.#lineups),
      peers: Object.fromEntries(this.#peers),
      ids: Object.fromEntries(this.#ids),
    });
  }
}
