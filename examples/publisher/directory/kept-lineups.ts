import { join } from 'node:path';
import { z } from 'zod';
import type { LineupChannel } from '../../hdhomerun/index.ts';
import type { Logger } from '../log.ts';
import { JsonFile } from '../state/json-file.ts';
import type { ChannelIds } from './directory.ts';

/** What a device had last, and when. */
export interface KeptLineup {
  readonly deviceId: string;
  readonly readAt: string;
  readonly channels: readonly LineupChannel[];
}

interface Kept {
  readonly lineups: Readonly<Record<string, KeptLineup>>;
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

const kept: z.ZodType<Kept> = z.object({
  lineups: z.record(z.string(), lineup),
  ids: z.record(z.string(), z.string()),
});

/** More ids than any house has channels; the oldest are forgotten first. */
const MAX_IDS = 10_000;

/**
 * The last lineup of each device and the ids of all channels, over a restart of the publisher: a device that is down when
 * it starts has its channels nevertheless, under the ids that people have in their players.
 */
export class KeptLineups implements ChannelIds {
  readonly #file: JsonFile<Kept>;
  readonly #lineups: Map<string, KeptLineup>;
  readonly #ids: Map<string, string>;

  constructor(dir: string, log: Logger) {
    this.#file = new JsonFile(join(dir, 'lineups.json'), kept, log);
    const { lineups = {}, ids = {} } = this.#file.read() ?? {};
    this.#lineups = new Map(Object.entries(lineups));
    this.#ids = new Map(Object.entries(ids));
  }

  /** @param address of the device, as the operator wrote it */
  lineup(address: string): KeptLineup | undefined {
    return this.#lineups.get(address);
  }

  /** Written only if it says something new: a disk is not to be worn by a lineup that is read every ten seconds. */
  keep(address: string, lineup: KeptLineup): void {
    const { readAt: _, ...before } = this.#lineups.get(address) ?? { readAt: '' };
    const { readAt: __, ...now } = lineup;
    this.#lineups.set(address, lineup);
    if (JSON.stringify(before) !== JSON.stringify(now)) this.#write();
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

  /** Resolves when all is on the disk. */
  settled(): Promise<void> {
    return this.#file.settled();
  }

  #write(): void {
    void this.#file.write({ lineups: Object.fromEntries(this.#lineups), ids: Object.fromEntries(this.#ids) });
  }
}
