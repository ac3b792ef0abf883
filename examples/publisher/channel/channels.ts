import type { DirectoryEntry } from '../directory/directory.ts';
import { finishAll } from '../finish-all.ts';
import type { Logger } from '../log.ts';
import { Channel, type ChannelSettings } from './channel.ts';

/** The channels that can be watched: one for every entry of the directory. */
export class Channels implements AsyncDisposable {
  readonly #settings: ChannelSettings;
  readonly #log: Logger;
  readonly #byId = new Map<string, Channel>();
  /** Those that were made with what was told before a reload. */
  readonly #outdated = new WeakSet<Channel>();
  /** Of channels that were removed and are not gone yet. */
  readonly #closing = new Set<Promise<void>>();

  constructor(settings: ChannelSettings, log: Logger) {
    this.#settings = settings;
    this.#log = log;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Channel | undefined {
    return this.#byId.get(id);
  }

  [Symbol.iterator](): IterableIterator<Channel> {
    return this.#byId.values();
  }

  /** Follows the directory, in its order. A channel that is still in it is left as it is, with its viewers. */
  sync(entries: readonly DirectoryEntry[]): void {
    const listed = new Set(entries.map(({ id }) => id));
    for (const [id, channel] of this.#byId) if (!listed.has(id)) this.#remove(id, channel);
    const channels = entries.map((entry) => [entry.id, this.#channelOf(entry)] as const);
    this.#byId.clear();
    for (const [id, channel] of channels) this.#byId.set(id, channel);
  }

  /** Ends a channel now, with its source and all who watch it; who comes then opens it afresh. */
  renew(id: string): void {
    const channel = this.#byId.get(id);
    if (!channel) return;
    this.#byId.set(id, new Channel(channel.entry, this.#settings, this.#log));
    this.#end(id, channel);
  }

  /** Takes over what a channel is made with: those that nobody watches at once, the others when nobody does any more. */
  settingsChanged(): void {
    for (const [id, channel] of this.#byId) {
      const renew = () => {
        if (this.#byId.get(id) === channel) this.renew(id);
      };
      if (channel.hub.state === 'idle') renew();
      else if (!this.#outdated.has(channel)) channel.hub.once('idle', renew);
      this.#outdated.add(channel);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const channels = [...this.#byId.values()].map((channel) => () => channel[Symbol.asyncDispose]());
    await finishAll([...channels, ...[...this.#closing].map((closing) => () => closing)]);
  }

  #channelOf(entry: DirectoryEntry): Channel {
    const channel = this.#byId.get(entry.id);
    if (!channel) return new Channel(entry, this.#settings, this.#log);
    channel.entry = entry;
    return channel;
  }

  #remove(id: string, channel: Channel): void {
    this.#byId.delete(id);
    this.#log.info({ channel: id }, `channel ${id}: removed, it is no longer in the lineup`);
    this.#end(id, channel);
  }

  #end(id: string, channel: Channel): void {
    const closing = channel[Symbol.asyncDispose]()
      .catch((err) => this.#log.error({ channel: id, err }, `channel ${id}: ${err}`))
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}
