import type { ServerResponse } from 'node:http';
import type { EventLog } from '../events.ts';
import { EventStream, format, HEARTBEAT } from './event-stream.ts';
import type { Overview, Overviews } from './overview.ts';
import { householdOf } from './viewers.ts';
import type { ChannelView } from './views.ts';

const LOOK_EVERY_MS = 1_000;
const HEARTBEAT_EVERY_MS = 5_000;
/** What the log says is told together when it says much at once. */
const TELL_AFTER_MS = 50;
const MAX_CLIENTS = 64;
/** Of one address, so that nobody shuts the others out. */
const MAX_OF_ADDRESS = 16;

/** What changed in the channels; the order of all of them if one came or went. */
interface ChannelChanges {
  readonly now: string;
  readonly changed: readonly ChannelView[];
  readonly order?: readonly string[];
}

interface Client {
  readonly stream: EventStream;
  /** {@link householdOf} it. */
  readonly address: string;
  /** The last event that it was told. */
  after: string | undefined;
}

/** What is told whole when any of it changed. */
const PARTS = ['publisher', 'tuners', 'locks', 'orphans', 'pushes'] as const;

/**
 * Tells every open dashboard what happens: a `snapshot` first, then what changed of it, looked at once a second, and each
 * `event` of the log. Nothing is looked at while nobody listens. A client that does not read is cut.
 */
export class LiveFeed implements Disposable {
  readonly #overviews: Overviews;
  readonly #log: EventLog;
  readonly #maxUnreadBytes: number | undefined;
  readonly #clients = new Set<Client>();
  /** Those who wait for their snapshot. */
  readonly #waiting = new Set<Client>();
  #shown: Overview | undefined;
  #looking: Promise<void> | undefined;
  #timers: Disposable | undefined;
  #isClosed = false;

  constructor(overviews: Overviews, log: EventLog, maxUnreadBytes?: number) {
    this.#overviews = overviews;
    this.#log = log;
    this.#maxUnreadBytes = maxUnreadBytes;
  }

  get size(): number {
    return this.#clients.size + this.#waiting.size;
  }

  /** @param client the address of who asks */
  isFullFor(client: string): boolean {
    const address = householdOf(client);
    const own = [...this.#clients, ...this.#waiting].filter((other) => other.address === address);
    return this.#isClosed || this.size >= MAX_CLIENTS || own.length >= MAX_OF_ADDRESS;
  }

  /** @param after the id of the last event that the client knows */
  join(response: ServerResponse, client: string, after: string | undefined): void {
    const stream = new EventStream(response, this.#maxUnreadBytes);
    const joined = { stream, address: householdOf(client), after };
    this.#waiting.add(joined);
    response.on('close', () => this.#leave(joined));
    this.#timers ??= this.#start();
    void this.#look();
  }

  /** Ends every stream: a client goes on from there when it comes again. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const { stream } of [...this.#clients, ...this.#waiting]) stream[Symbol.dispose]();
    this.#stop();
  }

  #leave(client: Client): void {
    this.#clients.delete(client);
    this.#waiting.delete(client);
    if (this.size === 0) this.#stop();
  }

  #start(): Disposable {
    const look = setInterval(() => this.#look(), LOOK_EVERY_MS);
    const beat = setInterval(() => this.#write(HEARTBEAT), HEARTBEAT_EVERY_MS);
    let telling: NodeJS.Timeout | undefined;
    const listening = this.#log.listen(() => {
      telling ??= setTimeout(() => {
        telling = undefined;
        this.#tellEvents();
      }, TELL_AFTER_MS);
    });
    return {
      [Symbol.dispose]: () => {
        for (const timer of [look, beat, telling]) clearTimeout(timer);
        listening[Symbol.dispose]();
      },
    };
  }

  #stop(): void {
    this.#timers?.[Symbol.dispose]();
    this.#timers = undefined;
    this.#shown = undefined;
  }

  /** One look at a time; who comes while one is on is shown what it finds. */
  #look(): Promise<void> {
    this.#looking ??= this.#lookNow().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #lookNow(): Promise<void> {
    const overview = await this.#overviews.take();
    if (this.size === 0 || this.#isClosed) return;
    if (this.#shown && this.#clients.size > 0) this.#write(changesBetween(this.#shown, overview));
    this.#shown = overview;
    this.#welcome(overview);
  }

  #welcome(overview: Overview): void {
    if (this.#waiting.size === 0) return;
    const snapshot = format({ event: 'snapshot', data: overview });
    for (const client of this.#waiting) {
      this.#clients.add(client);
      client.stream.write(snapshot);
    }
    this.#waiting.clear();
    this.#tellEvents();
  }

  #tellEvents(): void {
    for (const client of this.#clients) {
      const { events, missed } = this.#log.after(client.after);
      client.after = this.#log.lastId;
      const told = events.map((data) => format({ event: 'event', data, id: data.id }));
      if (missed > 0) told.unshift(format({ event: 'missed', data: { missed } }));
      if (told.length > 0) client.stream.write(told.join(''));
    }
  }

  #write(text: string): void {
    if (text !== '') for (const { stream } of this.#clients) stream.write(text);
  }
}

/** The messages that make the one of the other; empty if nothing changed. */
function changesBetween(before: Overview, after: Overview): string {
  const parts = PARTS.filter((part) => JSON.stringify(before[part]) !== JSON.stringify(after[part]));
  const changes = channelChanges(before, after);
  const isNews = changes.changed.length > 0 || changes.order !== undefined;
  return [
    ...(isNews ? [format({ event: 'channels', data: changes })] : []),
    ...parts.map((part) => format({ event: part, data: after[part] })),
  ].join('');
}

/** One that runs is told each time, so that a figure that stands still is seen to. */
function channelChanges(before: Pick<Overview, 'channels'>, after: Pick<Overview, 'channels' | 'now'>): ChannelChanges {
  const known = new Map(before.channels.map((channel) => [channel.id, essence(channel)]));
  const changed = after.channels.filter(
    (channel) => channel.state !== 'idle' || known.get(channel.id) !== essence(channel),
  );
  const isSame =
    before.channels.length === after.channels.length &&
    before.channels.every(({ id }, index) => id === after.channels[index]?.id);
  return { now: after.now, changed, ...(!isSame && { order: after.channels.map(({ id }) => id) }) };
}

/** Without what changes by the mere passing of time. */
function essence({ refusal, ...rest }: ChannelView): string {
  return JSON.stringify({ ...rest, refusal: refusal && { ...refusal, retryAfterMs: 0 } });
}
