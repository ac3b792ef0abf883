import type { Channel } from '../channel/channel.ts';
import type { Profile } from '../config/schema.ts';
import type { Viewers } from '../http/viewers.ts';
import type { Logger } from '../log.ts';
import { type HlsEnd, type HlsSettings, HlsStream } from './hls-stream.ts';
import { playsInBrowsers, programOf } from './playable.ts';
import type { RingPosition } from './segment-ring.ts';
import { DiskStore, MemoryStore, type SegmentStore } from './segment-store.ts';
import { Sessions } from './sessions.ts';

interface HlsConfig extends HlsSettings {
  readonly hlsIdleMs: number;
  readonly hlsRing: 'memory' | 'disk';
}

export interface HlsOptions {
  /** It may change; what begins then follows it. */
  readonly config: HlsConfig;
  /** Where segments are written, if they are. */
  readonly folder: string;
  readonly viewers: Viewers;
  /** Whether other profiles than `copy` can be made. */
  readonly canEncode: () => boolean;
  readonly log: Logger;
}

/** A stream, which goes on until this is disposed of. */
interface Begun extends Disposable {
  readonly stream: HlsStream;
  readonly profile: Profile;
}

/** HLS of all channels: one stream for each channel and profile that is watched, however many do. */
export class Hls implements AsyncDisposable {
  readonly sessions: Sessions;
  readonly #options: HlsOptions;
  readonly #store: SegmentStore;
  readonly #streams = new Map<string, HlsStream>();
  /** Where the next stream of a key goes on: a sequence number is never used twice. */
  readonly #next = new Map<string, RingPosition>();
  /** By seconds since 1970, of which there mostly are more than segments: players go on with more after a restart. */
  readonly #firstSequence = Math.floor(Date.now() / 1_000);
  #isClosed = false;

  constructor(options: HlsOptions) {
    this.#options = options;
    this.#store = storeFor(options);
    this.sessions = new Sessions(options.viewers, () => options.config.hlsIdleMs);
  }

  get streams(): Iterable<HlsStream> {
    return this.#streams.values();
  }

  find(channel: string, profile: Profile): HlsStream | undefined {
    return this.#streams.get(keyOf(channel, profile));
  }

  /** The stream that runs, or a new one. */
  open(channel: Channel, profile: Profile): HlsStream {
    const key = keyOf(channel.entry.id, profile);
    const running = this.#streams.get(key);
    if (running && !running.isOver) return running;
    const next = running ? continued(running) : this.#next.get(key);
    const first = { sequence: this.#firstSequence, discontinuities: 0 };
    const stream = new HlsStream({ channel, profile }, this.#options.config, this.#store, next ?? first);
    this.#streams.set(key, stream);
    this.#options.log.info({ channel: channel.entry.id }, `channel ${channel.entry.id}: HLS begins (${profile})`);
    void stream.over.then((end) => this.#ended(channel.entry.id, profile, stream, end));
    return stream;
  }

  /**
   * As asked or configured; else what comes if browsers play that, or what they do if it can be made. The stream goes on
   * until what this gives is disposed of.
   */
  async begin(channel: Channel, asked: Profile | undefined, signal: AbortSignal): Promise<Begun> {
    const wanted = asked ?? channel.entry.profile ?? (this.#options.canEncode() ? undefined : 'copy');
    if (wanted) return this.#begun(channel, wanted);
    await using probed = await programOf(channel, 'copy', { timeoutMs: this.#options.config.startTimeoutMs, signal });
    // Before the probe leaves, so that the source stays open.
    return this.#begun(channel, playsInBrowsers(probed.program) ? 'copy' : 'web');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.sessions[Symbol.dispose]();
    await Promise.all(Array.from(this.#streams.values(), (stream) => stream[Symbol.asyncDispose]()));
    await this.#store[Symbol.asyncDispose]();
  }

  #begun(channel: Channel, profile: Profile): Begun {
    const stream = this.open(channel, profile);
    return { stream, profile, ...stream.use() };
  }

  #ended(channel: string, profile: Profile, stream: HlsStream, end: HlsEnd): void {
    const key = keyOf(channel, profile);
    if (this.#streams.get(key) === stream) {
      this.#streams.delete(key);
      this.#next.set(key, continued(stream));
    }
    this.#options.log.info({ channel, end }, `channel ${channel}: HLS is over (${profile}, ${end})`);
    // All else, that its source has ended as well, may be over when its players ask again.
    if (!this.#isClosed && end === 'closed') this.sessions.endAll(channel);
  }
}

function continued({ ring }: HlsStream): RingPosition {
  return { ...ring.next, isContinued: true };
}

function storeFor({ config, folder, log }: HlsOptions): SegmentStore {
  if (config.hlsRing === 'memory') return new MemoryStore();
  try {
    return new DiskStore(folder, log);
  } catch (error) {
    log.warn(`${(error as Error).message}; segments of HLS stay in memory (hlsRing, stateDir)`);
    return new MemoryStore();
  }
}

function keyOf(channel: string, profile: Profile): string {
  return `${channel} ${profile}`;
}
