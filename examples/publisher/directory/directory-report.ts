import type { Channels } from '../channel/channels.ts';
import { failureOf } from '../failure.ts';
import type { Logger } from '../log.ts';
import type { PublisherMetrics } from '../metrics.ts';
import type { ChannelProvider, Directory, DirectoryListener, RefreshFailure } from './directory.ts';

/** The log is no list; that is at /api/channels. */
const MAX_NAMED = 50;

/** Carries what the directory learns to the channels, to the log (each piece of news once) and to the metrics. */
export class DirectoryReport implements DirectoryListener {
  readonly #channels: Channels;
  readonly #metrics: PublisherMetrics;
  readonly #log: Logger;
  /** The last thing said about each provider. */
  readonly #said = new WeakMap<ChannelProvider, string>();
  readonly #complainedOf = new Set<string>();
  #onFirst: (() => void) | undefined;

  /** @param onFirst called once, when a channel is known. */
  constructor(channels: Channels, metrics: PublisherMetrics, log: Logger, onFirst: () => void) {
    this.#channels = channels;
    this.#metrics = metrics;
    this.#log = log;
    this.#onFirst = onFirst;
  }

  changed(directory: Directory): void {
    this.#channels.sync(directory.entries);
  }

  refreshed(provider: ChannelProvider, directory: Directory): void {
    const entries = directory.entriesOf(provider);
    if (entries.length === 0) return;
    const names = entries.map(({ id, name }) => (id === name ? id : `${id} ${name}`));
    if (this.#isNews(provider, names.join('\n'))) {
      const count = `${names.length} channel${names.length === 1 ? '' : 's'}`;
      this.#log.info({ channels: names.length }, `${provider.name}: ${count}: ${shortened(names)}`);
    }
    this.#onFirst?.();
    this.#onFirst = undefined;
  }

  failed(provider: ChannelProvider, { error, retryAfterMs }: RefreshFailure, directory: Directory): void {
    this.#metrics.refreshFailed(provider.name);
    const { detail } = failureOf(error);
    if (!this.#isNews(provider, detail)) return;
    const kept = directory.entriesOf(provider).length;
    const consequence = kept > 0 ? `the ${kept} of its last lineup stay listed` : 'it has no channel yet';
    this.#log.warn(
      { device: provider.name },
      `${detail}; ${consequence}; trying again in ${retryAfterMs / 1000} s, later at longer intervals`,
    );
  }

  broken(err: unknown): void {
    this.#log.error({ err }, `the list of channels could not be carried on: ${err}`);
  }

  /** Of each override once: its channel may be in a lineup that can't be read now. */
  complainOfUnused({ unusedOverrides }: Directory): void {
    for (const name of unusedOverrides) {
      if (this.#complainedOf.has(name)) continue;
      this.#complainedOf.add(name);
      this.#log.warn(
        `channel ${name}: no channel has this id or number yet, so that its configuration changes nothing`,
      );
    }
  }

  #isNews(provider: ChannelProvider, news: string): boolean {
    if (this.#said.get(provider) === news) return false;
    this.#said.set(provider, news);
    return true;
  }
}

function shortened(names: readonly string[]): string {
  const more = names.length - MAX_NAMED;
  return names.slice(0, MAX_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
