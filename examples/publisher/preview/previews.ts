import { createHash } from 'node:crypto';
import { ProcessPool } from 'holdfast';
import type { Channel } from '../channel/channel.ts';
import type { Logger } from '../log.ts';
import { pictureOf } from './picture.ts';

export interface PreviewOptions {
  readonly config: { readonly preview: boolean };
  /** The ffmpeg to run; throws an error that says how to get one. */
  readonly ffmpeg: () => string;
  readonly log: Logger;
}

export interface Picture {
  readonly jpeg: Buffer;
  readonly etag: string;
  readonly at: number;
}

/** How old a picture gets before there is another. */
const EVERY_MS = 10_000;
/** What has no picture, such as radio, is not asked again and again. */
const FAILED_MS = 30_000;
/** All channels together: pictures are the least that this host has to do. */
const MAX_PROCESSES = 2;

interface Shot {
  picture: Picture | undefined;
  /** When the next may be taken, by `performance.now()`. */
  nextAt: number;
  isBusy: boolean;
}

/** Small pictures of channels that are watched anyway, made when somebody asks for them. None opens a source. */
export class Previews implements AsyncDisposable {
  readonly #options: PreviewOptions;
  readonly #pool = new ProcessPool({ max: MAX_PROCESSES, acquire: { maxAttempts: 1 } });
  /** Of a channel, for as long as there is that. */
  readonly #shots = new WeakMap<Channel, Shot>();
  readonly #ending = new AbortController();
  readonly #taking = new Set<Promise<void>>();

  constructor(options: PreviewOptions) {
    this.#options = options;
  }

  /** Why there are none; undefined if there are. */
  get off(): string | undefined {
    if (!this.#options.config.preview) return 'previews are off (preview)';
    try {
      this.#options.ffmpeg();
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** Where to ask for the picture of a channel; null where there can be none now. */
  pathOf({ entry, hub }: Channel): string | null {
    if (hub.state !== 'live' || this.off !== undefined) return null;
    return `/channels/${encodeURIComponent(entry.id)}/preview.jpg`;
  }

  /** The last picture of a channel that is live; a newer one is made meanwhile if it is old. */
  of(channel: Channel): Picture | undefined {
    if (channel.hub.state !== 'live') return undefined;
    const shot = this.#shots.get(channel) ?? { picture: undefined, nextAt: Number.NEGATIVE_INFINITY, isBusy: false };
    this.#shots.set(channel, shot);
    if (!shot.isBusy && performance.now() >= shot.nextAt) this.#start(channel, shot);
    return shot.picture;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#taking);
    await this.#pool.close();
  }

  #start(channel: Channel, shot: Shot): void {
    if (this.#ending.signal.aborted || channel.hub.subscribers === 0) return;
    shot.isBusy = true;
    const taking = this.#take(channel, shot).finally(() => {
      shot.isBusy = false;
      this.#taking.delete(taking);
    });
    this.#taking.add(taking);
  }

  async #take(channel: Channel, shot: Shot): Promise<void> {
    const { id } = channel.entry;
    const [begun, at] = [performance.now(), Date.now()];
    try {
      const encoding = { ffmpeg: this.#options.ffmpeg(), pool: this.#pool, signal: this.#ending.signal };
      const jpeg = await pictureOf(channel.hub, encoding);
      const etag = `"${createHash('sha256').update(jpeg).digest('base64url').slice(0, 22)}"`;
      shot.picture = { jpeg, etag, at };
      shot.nextAt = begun + EVERY_MS;
    } catch (error) {
      shot.nextAt = begun + FAILED_MS;
      if (this.#ending.signal.aborted) return;
      this.#options.log.debug({ channel: id }, `channel ${id}: no preview: ${(error as Error).message}`);
    }
  }
}
