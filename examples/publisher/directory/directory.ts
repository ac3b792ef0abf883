import type { DeviceClient } from '../../hdhomerun/index.ts';
import type { ChannelOverride, Profile } from '../config/schema.ts';
import { type ChannelIds, idsInMemory } from './channel-ids.ts';
import { type Composition, type Contribution, compose } from './channel-list.ts';
import { RefreshLoop } from './refresh-loop.ts';

/** Where a channel can be read. */
export interface Source {
  /** Credentials included: only what reads it may see it. */
  readonly url: string;
  /** The device that it is a channel of. */
  readonly device?: DeviceClient | undefined;
}

/** A channel, as somebody who has it offers it. */
export interface Offer {
  /** The ids it would like, the dearest first; the last is its own, which nobody else has, and by which it is remembered. */
  readonly ids: readonly [string, ...string[]];
  readonly name: string;
  readonly number: string | null;
  /** In order of preference. */
  readonly sources: readonly [Source, ...Source[]];
  readonly favorite?: boolean | undefined;
  readonly hd?: boolean | undefined;
  /** Offers with the same are one channel, with the sources of all. */
  readonly sameAs?: string | undefined;
  /** The id of the channel in the guide, if it is known. */
  readonly guideId?: string | undefined;
  /** What it is watched as unless a viewer asks for something else. */
  readonly profile?: Profile | undefined;
  readonly logo?: string | undefined;
  /** False if who offers it can't give it now. */
  readonly available?: boolean | undefined;
  /** The publishers it comes through, each by its instance. */
  readonly via?: readonly string[] | undefined;
  /** When who offers it last had it. @default when it was asked */
  readonly updatedAt?: Date | undefined;
  /** @default a ttl after that */
  readonly expiresAt?: Date | undefined;
}

export type ProviderKind = 'configured' | 'device' | 'peer' | 'announced';

/** Who has channels: the configuration, a device with a lineup, another publisher. */
export interface ChannelProvider {
  readonly name: string;
  /** Of two with the same, one goes on as it is when providers are changed. @default the provider itself */
  readonly key?: string | undefined;
  /** @default configured */
  readonly kind?: ProviderKind | undefined;
  /** What is known of its channels before it was asked. */
  readonly initial?: readonly Offer[] | undefined;
  /** All its channels now. An error says that it can't tell, never that it has none. */
  offers(signal: AbortSignal): Promise<readonly Offer[]>;
}

export interface DirectoryEntry extends Offer {
  readonly id: string;
  readonly updatedAt: Date;
  readonly expiresAt: Date;
  /** Who offers it; of several, the first. */
  readonly provider?: string | undefined;
  readonly kind?: ProviderKind | undefined;
  /** What the operator has settled: nobody else has a say in it. */
  readonly settled?: { readonly favorite: boolean | undefined; readonly enabled: boolean | undefined } | undefined;
}

export interface DirectoryListener {
  /** Whenever the entries may differ from what they were. */
  changed?(directory: Directory): void;
  /** After every good refresh of a provider. */
  refreshed(provider: ChannelProvider, directory: Directory): void;
  failed(provider: ChannelProvider, failure: RefreshFailure, directory: Directory): void;
  /** What was thrown while news were carried on: it is no fault of who gave them. */
  broken?(error: unknown): void;
}

export interface RefreshFailure {
  readonly error: unknown;
  readonly retryAfterMs: number;
}

export interface DirectorySettings {
  /** @default 30 s */
  readonly ttlMs?: number | undefined;
  /** What the operator wants otherwise, by the id or the number of a channel. */
  readonly overrides?: Readonly<Record<string, ChannelOverride>> | undefined;
  /** Where the ids that channels have are remembered. @default nowhere */
  readonly ids?: ChannelIds | undefined;
}

export const DIRECTORY_TTL_MS = 30_000;

interface Listing {
  readonly provider: ChannelProvider;
  readonly loop: RefreshLoop<readonly Offer[]>;
  contributions: readonly Contribution[];
}

const NOTHING: Composition = { entries: [], providers: new Map(), taken: new Map(), unused: [] };

/**
 * All channels that are configured or in a lineup. Each provider is asked anew every third of the ttl, by a clock of its
 * own and with a time limit. What it said last stays: a provider that fails or hangs makes its channels stale, and only
 * its own word removes one.
 */
export class Directory implements Disposable {
  readonly ttlMs: number;
  readonly #listener: DirectoryListener;
  readonly #ids: ChannelIds;
  #overrides: Readonly<Record<string, ChannelOverride>>;
  /** In the order in which their channels are listed and may choose their ids. */
  #listings: readonly Listing[];
  #composition: Composition = NOTHING;
  #isClosed = false;

  constructor(
    providers: readonly ChannelProvider[],
    listener: DirectoryListener,
    { ttlMs = DIRECTORY_TTL_MS, overrides = {}, ids = idsInMemory() }: DirectorySettings = {},
  ) {
    this.ttlMs = ttlMs;
    this.#listener = listener;
    this.#overrides = overrides;
    this.#ids = ids;
    this.#listings = providers.map((provider) => this.#listingOf(provider));
    this.#compose();
  }

  get entries(): readonly DirectoryEntry[] {
    return this.#composition.entries;
  }

  /** Overrides that name no channel. */
  get unusedOverrides(): readonly string[] {
    return this.#composition.unused;
  }

  /** Whose channel has an id, or a number, even one that is not listed since it is disabled. */
  kindOf(idOrNumber: string): ProviderKind | undefined {
    return this.#composition.taken.get(idOrNumber);
  }

  /** The listed channels that a provider has, or has a part in. */
  entriesOf(provider: ChannelProvider): readonly DirectoryEntry[] {
    return this.entries.filter((entry) => this.#composition.providers.get(entry)?.has(provider));
  }

  /** Resolves when every provider was asked once. What is known before is there at once. */
  async start(): Promise<void> {
    this.#tell(() => this.#listener.changed?.(this));
    await Promise.all(this.#listings.map(({ loop }) => loop.start()));
  }

  /** Asks a provider now. */
  async refresh(provider: ChannelProvider): Promise<void> {
    await this.#listings.find((listing) => listing.provider === provider)?.loop.start();
  }

  /**
   * From now on these are all. One whose key was among those before goes on as it is, with its entries and its clock; the
   * new object is not used. Resolves when the others were asked once.
   */
  async setProviders(
    providers: readonly ChannelProvider[],
    overrides: Readonly<Record<string, ChannelOverride>> = this.#overrides,
  ): Promise<void> {
    if (this.#isClosed) return;
    const before = this.#listings;
    const kept = new Map(before.map((listing) => [keyOf(listing.provider), listing]));
    this.#overrides = overrides;
    this.#listings = providers.map((provider) => kept.get(keyOf(provider)) ?? this.#listingOf(provider));
    for (const listing of before) if (!this.#listings.includes(listing)) listing.loop[Symbol.dispose]();
    this.#tell(() => this.#changed());
    const added = this.#listings.filter((listing) => !before.includes(listing));
    await Promise.all(added.map(({ loop }) => loop.start()));
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const { loop } of this.#listings) loop[Symbol.dispose]();
  }

  #listingOf(provider: ChannelProvider): Listing {
    const listing: Listing = {
      provider,
      loop: this.#loopOf(provider, (offers) => this.#accept(listing, offers)),
      contributions: this.#contributionsOf(provider, provider.initial ?? []),
    };
    return listing;
  }

  #loopOf(provider: ChannelProvider, accept: (offers: readonly Offer[]) => void): RefreshLoop<readonly Offer[]> {
    const everyMs = this.ttlMs / 3;
    return new RefreshLoop<readonly Offer[]>(
      { everyMs, timeoutMs: everyMs, backoffMs: Math.min(1_000, everyMs) },
      {
        read: (signal) => provider.offers(signal),
        taken: (offers) => this.#tell(() => accept(offers)),
        failed: (error, retryAfterMs) =>
          this.#tell(() => this.#listener.failed(provider, { error, retryAfterMs }, this)),
      },
    );
  }

  #tell(news: () => void): void {
    try {
      news();
    } catch (error) {
      this.#listener.broken?.(error);
    }
  }

  #accept(listing: Listing, offers: readonly Offer[]): void {
    listing.contributions = this.#contributionsOf(listing.provider, offers);
    this.#changed();
    this.#listener.refreshed(listing.provider, this);
  }

  #contributionsOf(provider: ChannelProvider, offers: readonly Offer[]): readonly Contribution[] {
    const now = new Date();
    return offers.map((offer) => {
      const { updatedAt = now, expiresAt = new Date(updatedAt.getTime() + this.ttlMs) } = offer;
      return { provider, offer, updatedAt, expiresAt };
    });
  }

  #changed(): void {
    this.#compose();
    this.#listener.changed?.(this);
  }

  #compose(): void {
    const contributions = this.#listings.flatMap((listing) => listing.contributions);
    this.#composition = compose(contributions, this.#ids, this.#overrides);
  }
}

function keyOf(provider: ChannelProvider): unknown {
  return provider.key ?? provider;
}

/** Whether an entry's provider has been silent for longer than the ttl. */
export function isStale(entry: DirectoryEntry, at: Date = new Date()): boolean {
  return entry.expiresAt <= at;
}
