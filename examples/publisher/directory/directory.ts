import type { DeviceClient } from '../../hdhomerun/index.ts';
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
  /** The ids it would like, the dearest first; the first that is free becomes its id. */
  readonly ids: readonly [string, ...string[]];
  readonly name: string;
  readonly number: string | null;
  /** In order of preference. */
  readonly sources: readonly [Source, ...Source[]];
  readonly favorite?: boolean | undefined;
  readonly hd?: boolean | undefined;
}

/** Who has channels: the configuration, a device with a lineup. */
export interface ChannelProvider {
  readonly name: string;
  /** All its channels now. An error says that it can't tell, never that it has none. */
  offers(signal: AbortSignal): Promise<readonly Offer[]>;
}

export interface DirectoryEntry extends Offer {
  readonly id: string;
  readonly updatedAt: Date;
  readonly expiresAt: Date;
}

export interface DirectoryListener {
  /** After every good refresh of a provider. */
  refreshed(provider: ChannelProvider, directory: Directory): void;
  failed(provider: ChannelProvider, failure: RefreshFailure, directory: Directory): void;
}

export interface RefreshFailure {
  readonly error: unknown;
  readonly retryAfterMs: number;
}

export const DIRECTORY_TTL_MS = 30_000;

/**
 * All channels that are configured or in a lineup. Each provider is asked anew every third of the ttl, by a clock of its
 * own and with a time limit. What it said last stays: a provider that fails or hangs makes its channels stale, and only
 * its own word removes one.
 */
export class Directory implements Disposable {
  readonly ttlMs: number;
  readonly #loops: readonly RefreshLoop[];
  readonly #listener: DirectoryListener;
  /** By provider, so that a provider can only replace its own. */
  readonly #entries = new Map<ChannelProvider, readonly DirectoryEntry[]>();

  constructor(providers: readonly ChannelProvider[], listener: DirectoryListener, ttlMs: number = DIRECTORY_TTL_MS) {
    this.ttlMs = ttlMs;
    this.#listener = listener;
    this.#loops = providers.map((provider) => this.#loopOf(provider));
    for (const provider of providers) this.#entries.set(provider, []);
  }

  get entries(): readonly DirectoryEntry[] {
    return [...this.#entries.values()].flat();
  }

  entriesOf(provider: ChannelProvider): readonly DirectoryEntry[] {
    return this.#entries.get(provider) ?? [];
  }

  /** Resolves when every provider was asked once. */
  async start(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.start()));
  }

  [Symbol.dispose](): void {
    for (const loop of this.#loops) loop[Symbol.dispose]();
  }

  #loopOf(provider: ChannelProvider): RefreshLoop {
    const everyMs = this.ttlMs / 3;
    return new RefreshLoop(
      { everyMs, timeoutMs: everyMs, backoffMs: Math.min(1_000, everyMs) },
      async (signal) => {
        const offers = await provider.offers(signal);
        if (!signal.aborted) this.#accept(provider, offers);
      },
      (error, retryAfterMs) => this.#listener.failed(provider, { error, retryAfterMs }, this),
    );
  }

  #accept(provider: ChannelProvider, offers: readonly Offer[]): void {
    const ids = this.#idsFor(provider, offers);
    const updatedAt = new Date();
    const expiresAt = new Date(updatedAt.getTime() + this.ttlMs);
    const entries = offers.map((offer, index) => ({ ...offer, id: ids[index] as string, updatedAt, expiresAt }));
    this.#entries.set(provider, entries);
    this.#listener.refreshed(provider, this);
  }

  /** A channel keeps the id that it has, as people have it in their players; new ones take what is free. */
  #idsFor(provider: ChannelProvider, offers: readonly Offer[]): string[] {
    const mine = this.entriesOf(provider);
    const kept = offers.map(({ ids }) => mine.find((entry) => entry.ids[0] === ids[0] && entry.ids[1] === ids[1])?.id);
    const taken = new Set([...this.entries.filter((entry) => !mine.includes(entry)).map(({ id }) => id), ...kept]);
    return offers.map(({ ids }, index) => {
      const id = kept[index] ?? firstFree(ids, taken);
      taken.add(id);
      return id;
    });
  }
}

function firstFree(ids: Offer['ids'], taken: ReadonlySet<string | undefined>): string {
  const free = ids.find((id) => !taken.has(id));
  if (free !== undefined) return free;
  for (let count = 2; ; count++) if (!taken.has(`${ids[0]}-${count}`)) return `${ids[0]}-${count}`;
}

/** Whether an entry's provider has been silent for longer than the ttl. */
export function isStale(entry: DirectoryEntry, at: Date = new Date()): boolean {
  return entry.expiresAt <= at;
}
