import { Readable } from 'node:stream';
import { redactCredentials } from 'holdfast';
import { z } from 'zod';
import { boundedText } from '../bounded-text.ts';
import { authorizationOf } from '../source-address.ts';
import type { ChannelProvider, Offer } from './directory.ts';
import type { KeptLineups } from './kept-lineups.ts';

/** A publisher of thousands of channels says less than this. */
const MAX_BYTES = 8 * 1024 * 1024;
const MAX_STREAMS = 10_000;
const MAX_VIA = 32;

const httpUrl = z.url({ protocol: /^https?$/ }).max(2_048);
const via = z.array(z.string().max(64)).max(MAX_VIA);

export const stream: z.ZodType<Stream, unknown> = z.object({
  id: z.string().min(1).max(64),
  name: z.string().max(512),
  number: z.string().max(32).nullable().default(null),
  url: httpUrl,
  available: z.boolean().default(true),
  stale: z.boolean().default(false),
  updatedAt: z.iso.datetime().optional(),
  expiresAt: z.iso.datetime().optional(),
  via: via.default([]),
});

const document = z.object({ instance: z.string().max(64).optional(), streams: z.array(z.unknown()).max(MAX_STREAMS) });

export interface Stream {
  readonly id: string;
  readonly name: string;
  readonly number: string | null;
  readonly url: string;
  readonly available: boolean;
  readonly stale: boolean;
  readonly updatedAt?: string | undefined;
  readonly expiresAt?: string | undefined;
  readonly via: readonly string[];
}

/** What a peer listed, and when. */
export interface PeerList {
  readonly readAt: string;
  readonly instance?: string | undefined;
  readonly streams: readonly Stream[];
}

/**
 * Another publisher: each channel that it lists is one of ours, read from it, so that its tuner is read once for both. What
 * it can't give now is listed after the rest and as unavailable, and what is stale there is stale here. What has come
 * through this publisher is left out, or two that list each other would read from each other in a circle.
 */
export class Peer implements ChannelProvider {
  readonly name: string;
  readonly key: string;
  readonly kind = 'peer';
  /** What it listed before this program was started; it counts as stale until the peer is heard of. */
  readonly initial: readonly Offer[];
  readonly #address: string;
  readonly #url: URL;
  readonly #instance: string;
  readonly #kept: KeptLineups | undefined;

  /**
   * @param instance of this publisher
   * @param kept where its list outlives a restart of this program
   */
  constructor(url: string, instance: string, kept?: KeptLineups) {
    this.#address = url;
    this.#url = new URL(url);
    this.#instance = instance;
    this.#kept = kept;
    this.name = redactCredentials(url);
    this.key = `peer:${url}`;
    const before = kept?.peer(url);
    this.initial = before ? this.#offersOf(asStale(before)) : [];
  }

  async offers(signal: AbortSignal): Promise<readonly Offer[]> {
    const { instance, streams } = await this.#read(signal);
    if (instance === this.#instance) throw new Error(`${this.name} is this publisher itself; take it out of --peer`);
    const usable = streams.flatMap((each) => stream.safeParse(each).data ?? []);
    const list = { readAt: new Date().toISOString(), instance, streams: usable };
    if (!signal.aborted) this.#kept?.keepPeer(this.#address, list);
    return this.#offersOf(list);
  }

  #offersOf({ instance, streams }: PeerList): readonly Offer[] {
    const own = streams.filter(({ via }) => !via.includes(this.#instance) && via.length < MAX_VIA);
    const offers = own.map((each) => this.#offerOf(each, instance));
    return [...offers.filter(({ available }) => available), ...offers.filter(({ available }) => !available)];
  }

  async #read(signal: AbortSignal): Promise<z.infer<typeof document>> {
    const url = new URL('api/public-streams', this.#url.href.replace(/\/?$/, '/'));
    const authorization = authorizationOf(url);
    [url.username, url.password] = ['', ''];
    const headers = new Headers(authorization ? { authorization } : {});
    const response = await fetch(url, { signal, headers }).catch((error) => {
      signal.throwIfAborted();
      throw new Error(`${this.name} can't be reached: ${error.cause?.message || error.cause?.code || error}`);
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`${this.name} answered ${response.status}; is it a publisher?`);
    }
    const text = await boundedText(response.body ?? Readable.from([]), MAX_BYTES);
    if (text === undefined) throw new Error(`the list of ${this.name} is larger than ${MAX_BYTES} bytes`);
    return this.#parse(text);
  }

  #parse(text: string): z.infer<typeof document> {
    try {
      return document.parse(JSON.parse(text));
    } catch (error) {
      const why = error instanceof z.ZodError ? error.issues[0]?.message : 'no JSON';
      throw new Error(`the list of ${this.name} can't be used: ${why}; is it a publisher?`, { cause: error });
    }
  }

  #offerOf({ id, name, number, url, available, stale, updatedAt, expiresAt, via }: Stream, instance?: string): Offer {
    const plain = id.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '') || 'channel';
    const own = `${this.#url.hostname}-${this.#url.port || (this.#url.protocol === 'https:' ? 443 : 80)}-${plain}`;
    return {
      ids: [
        plain,
        own
          .replace(/[^A-Za-z0-9._-]+/g, '-')
          .slice(-64)
          .replace(/^[^A-Za-z0-9]+/, ''),
      ],
      ...{ name, number, available: available && !stale },
      sources: [{ url }],
      via: instance === undefined ? via : [...via, instance],
      ...(stale && { updatedAt: date(updatedAt), expiresAt: date(expiresAt) }),
    };
  }
}

function asStale({ readAt, streams, ...list }: PeerList): PeerList {
  const stale = { available: false, stale: true, updatedAt: readAt, expiresAt: readAt };
  return { ...list, readAt, streams: streams.map((each) => ({ ...each, ...stale })) };
}

/** Of what is stale: in the past, whatever the clock of the other says. */
function date(iso: string | undefined): Date {
  return new Date(Math.min(Date.parse(iso ?? '') || 0, Date.now() - 1));
}
