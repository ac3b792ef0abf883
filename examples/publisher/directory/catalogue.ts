import { join } from 'node:path';
import type { Channels } from '../channel/channels.ts';
import type { Config } from '../config/config.ts';
import type { LineupEntry } from '../device/lineup.ts';
import { DeviceGuide } from '../guide/device-guide.ts';
import { FileGuide } from '../guide/file-guide.ts';
import { Guide } from '../guide/guide.ts';
import type { GuideSubject } from '../guide/guide-merge.ts';
import type { GuideSource } from '../guide/guide-source.ts';
import { UrlGuide } from '../guide/url-guide.ts';
import type { Logger } from '../log.ts';
import type { PublisherMetrics } from '../metrics.ts';
import { Announcements } from './announcements.ts';
import { configuredSources } from './configured-sources.ts';
import { type ChannelProvider, Directory } from './directory.ts';
import { DirectoryReport } from './directory-report.ts';
import { type Instance, instanceOf } from './instance.ts';
import { KeptLineups } from './kept-lineups.ts';
import { LineupDevice } from './lineup-device.ts';
import { Peer } from './peer.ts';

export interface CatalogueOptions {
  /** What holds now. */
  readonly config: Config;
  readonly channels: Channels;
  readonly metrics: PublisherMetrics;
  readonly log: Logger;
  /** The state directory. */
  readonly dir: string;
  /** Where the simulated tuner is, if there is one. */
  readonly demo: string | undefined;
  /** The channels as players know them. */
  readonly lineup: () => readonly LineupEntry[];
  /** Called once, when a channel is known. */
  readonly onFirst: () => void;
}

/** Which channels there are, and what is on: all that has channels or tells of them, by the configuration. */
export class Catalogue implements AsyncDisposable {
  readonly directory: Directory;
  readonly guide: Guide;
  readonly announcements: Announcements;
  /** What tells this publisher from others. */
  readonly instance: string;
  readonly #instance: Instance;
  readonly #options: CatalogueOptions;
  readonly #kept: KeptLineups;
  readonly #report: DirectoryReport;
  #tuners: readonly LineupDevice[] = [];
  #peers = new Map<string, Peer>();

  constructor(options: CatalogueOptions) {
    this.#options = options;
    const { config, channels, metrics, log, dir, onFirst, lineup } = options;
    this.#kept = new KeptLineups(dir, log);
    this.#instance = instanceOf(dir, log);
    this.instance = this.#instance.id;
    this.announcements = new Announcements(this.instance);
    this.#report = new DirectoryReport(channels, metrics, log, onFirst);
    const onPullFailed = (source: string) => metrics.pullFailed(source);
    const subjects = () => lineup().map(subjectOf);
    this.guide = new Guide({ dir: join(dir, 'guide'), log, subjects, onPullFailed });
    metrics.observeGuide(this.guide);
    this.directory = new Directory(this.#providers(), this.#listener(), { overrides: config.channel, ids: this.#kept });
    this.announcements.directory = this.directory;
  }

  /** The devices that are read. */
  get tuners(): readonly LineupDevice[] {
    return this.#tuners;
  }

  /** Resolves when all that have channels were asked once. */
  async start(): Promise<void> {
    void this.guide.start(this.#guides());
    await this.directory.start();
    this.#report.complainOfUnused(this.directory);
  }

  /** Takes over what a reload of the configuration changed; what did not change goes on as it is. */
  async apply(): Promise<void> {
    const { config } = this.#options;
    await Promise.all([
      this.directory.setProviders(this.#providers(), config.channel),
      this.guide.setSources(this.#guides()),
    ]);
    this.#report.complainOfUnused(this.directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.directory[Symbol.dispose]();
    this.announcements[Symbol.dispose]();
    await Promise.all([this.guide[Symbol.asyncDispose](), this.#kept.end(), this.#instance.settled]);
  }

  #listener(): ConstructorParameters<typeof Directory>[1] {
    const report = this.#report;
    return {
      changed: (directory) => {
        report.changed(directory);
        this.guide.subjectsChanged();
      },
      refreshed: (provider, directory) => report.refreshed(provider, directory),
      failed: (provider, failure, directory) => report.failed(provider, failure, directory),
      broken: (error) => report.broken(error),
    };
  }

  /** Those that were there before are the same objects. */
  #providers(): readonly ChannelProvider[] {
    const { config, demo } = this.#options;
    const before = new Map(this.#tuners.map((tuner) => [tuner.key, tuner]));
    // The demo has another port each time: nothing is to be remembered of it.
    const tuners = [
      ...config.device.map((address) => new LineupDevice(address, this.#kept)),
      ...(demo === undefined ? [] : [new LineupDevice(demo)]),
    ];
    this.#tuners = tuners.map((tuner) => before.get(tuner.key) ?? tuner);
    this.#peers = new Map(
      config.peer.map((url) => [url, this.#peers.get(url) ?? new Peer(url, this.instance, this.#kept)]),
    );
    return [configuredSources(config.source), ...this.#tuners, ...this.#peers.values(), this.announcements];
  }

  #guides(): readonly GuideSource[] {
    const { config, demo } = this.#options;
    const guides = config.guide.map((each): GuideSource => {
      if (each === 'device') return new DeviceGuide({ addresses: config.device });
      return /^https?:/i.test(each) ? new UrlGuide(each) : new FileGuide(each);
    });
    if (demo === undefined) return guides;
    return [...guides, new DeviceGuide({ addresses: [demo], service: demo, key: 'demo' })];
  }
}

function subjectOf({ channel, number: guideNumber }: LineupEntry): GuideSubject {
  const { id, name, number, guideId, logo } = channel.entry;
  return { id, name, number, guideNumber, guideId, logo };
}
