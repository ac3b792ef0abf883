import { hostname } from 'node:os';
import { join } from 'node:path';
import { findFfmpeg, type HdhomerunSimulator } from '../hdhomerun/index.ts';
import type { Channel } from './channel/channel.ts';
import { Channels } from './channel/channels.ts';
import type { Config } from './config/config.ts';
import { LiveConfig } from './config/live-config.ts';
import { type Controls, createControls } from './controls.ts';
import { startDemo } from './demo.ts';
import { Presence } from './device/presence.ts';
import { PublishedDevice } from './device/published-device.ts';
import { Catalogue } from './directory/catalogue.ts';
import { unreadableFiles } from './directory/configured-sources.ts';
import { EventLog } from './events.ts';
import { finishAll } from './finish-all.ts';
import { Connections } from './http/connections.ts';
import { type Told, toldOf } from './http/events-routes.ts';
import { programmesOf } from './http/guide-routes.ts';
import type { PublisherView } from './http/overview.ts';
import { createRouter } from './http/router.ts';
import { HttpServer } from './http/server.ts';
import { TokenGate } from './http/token-gate.ts';
import { TrustedProxies } from './http/trusted-proxies.ts';
import { Viewers } from './http/viewers.ts';
import { checkLockDirectory } from './lock-directory.ts';
import type { Logger } from './log.ts';
import { PublisherMetrics } from './metrics.ts';
import { OrphanLook } from './orphan-look.ts';
import { sweepOrphans } from './orphans.ts';
import { Outputs } from './outputs.ts';
import { HardwareEncoders } from './pipeline/hardware.ts';
import { baseUrlOf, howToWatch, whoMay } from './reach.ts';
import { missingFfmpeg, Readiness } from './readiness.ts';
import { StateClaim } from './state/claim.ts';
import { version } from './version.ts';

/** What a publisher gets beside its configuration. */
interface Around {
  readonly log: Logger;
  readonly events: EventLog;
  readonly simulator: HdhomerunSimulator | undefined;
  readonly state: StateClaim;
  /** Where the locks are, if that is known. */
  readonly lockDir: string | undefined;
}

/** The whole program: finds channels, keeps each ready to be opened, and serves them. */
export class Publisher implements AsyncDisposable {
  readonly #live: LiveConfig;
  /** What holds now, option by option; it changes with a reload. */
  readonly #config: Config;
  readonly #log: Logger;
  readonly #orphans = new OrphanLook();
  readonly #metrics = new PublisherMetrics(this.#orphans);
  readonly #controls: Controls;
  readonly #encoders: HardwareEncoders;
  readonly #channels: Channels;
  readonly #viewers: Viewers;
  readonly #outputs: Outputs;
  readonly #catalogue: Catalogue;
  readonly #simulator: HdhomerunSimulator | undefined;
  readonly #told: Told;
  readonly #readiness: Readiness;
  readonly #proxies = new TrustedProxies(() => this.#config.trustProxy);
  readonly #startedAt = new Date();
  readonly #state: StateClaim;
  #device: PublishedDevice | undefined;
  #presence: Presence | undefined;
  #http: HttpServer | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Resolves when it serves; devices are asked meanwhile and after.
   *
   * @param events what the log has said and will say
   * @throws StartError if the port can't be had or the locks can't be kept.
   */
  static async start(config: Config, log: Logger, events: EventLog = new EventLog()): Promise<Publisher> {
    log.info('starting');
    const lockDir = await checkLockDirectory(config.lockDir, (text) => log.warn(text));
    const state = await StateClaim.take(config, log);
    let simulator: HdhomerunSimulator | undefined;
    let publisher: Publisher | undefined;
    try {
      await sweepOrphans(state.predecessor, log);
      const missing = missingFfmpeg();
      if (missing) log.warn(`${missing}; until then only MPEG-TS by HTTP can be watched`);
      for (const complaint of unreadableFiles(config.source)) log.warn(complaint);
      simulator = config.demo ? await startDemo(missing ? 'ffmpeg' : findFfmpeg(), log) : undefined;
      publisher = new Publisher(config, { log, events, simulator, state, lockDir });
      await publisher.#serve();
      return publisher;
    } catch (error) {
      const parts = publisher ? [publisher] : [simulator, state];
      // Why it can't start counts, not what came of that.
      await finishAll(parts.map((part) => () => part?.[Symbol.asyncDispose]())).catch(() => {});
      throw error;
    }
  }

  private constructor(config: Config, { log, events, simulator, state, lockDir }: Around) {
    this.#live = new LiveConfig(config);
    this.#config = this.#live.view;
    this.#log = log;
    this.#simulator = simulator;
    this.#state = state;
    this.#controls = createControls(config, log);
    const hardware = { wanted: () => this.#config.hardware, ffmpeg: findFfmpeg, log };
    this.#encoders = new HardwareEncoders(hardware);
    const shared = { ffmpeg: findFfmpeg, controls: this.#controls, encoders: this.#encoders };
    this.#channels = new Channels(this.#live.with(shared), log);
    this.#metrics.observe(this.#channels);
    this.#readiness = new Readiness({ channels: this.#channels, lockDir, stateDir: state.path });
    this.#viewers = new Viewers(() => this.#config);
    const made = { config: this.#config, folder: join(state.path, 'hls'), ffmpeg: findFfmpeg, log };
    const watched = { channels: this.#channels, viewers: this.#viewers };
    this.#outputs = new Outputs({ ...made, ...watched }, this.#metrics.registry);
    this.#catalogue = new Catalogue({
      ...{ config: this.#config, channels: this.#channels, metrics: this.#metrics, log },
      ...{ dir: state.path, demo: simulator?.url, onFirst: () => this.#sayHowToWatch() },
      lineup: () => this.#device?.lineup.entries ?? [],
    });
    const seen = {
      channels: this.#channels,
      tuners: () => this.#catalogue.tuners,
      lockDir: config.lockDir,
      orphans: this.#orphans,
      publisher: () => this.#view(),
      pushes: () => this.#outputs.pushes.views,
      extras: (channel: Channel) => ({
        viewers: this.#viewers.of(channel.entry.id),
        preview: this.#outputs.previews.pathOf(channel),
        programme: programmesOf(this.#catalogue.guide, channel.entry.id),
      }),
    };
    this.#told = toldOf(seen, events);
  }

  /** Takes over what is new in a configuration; what did not change is not touched. */
  async reload(config: Config): Promise<void> {
    const { applied, waiting } = this.#live.replace(config);
    if (applied.includes('startTimeoutMs') || applied.includes('closeAfterMs')) this.#channels.settingsChanged();
    void this.#catalogue.apply().catch(this.#complain);
    this.#outputs.reload();
    if (waiting.length > 0) this.#log.warn(`reload: not applied before the next start: ${waiting.join(', ')}`);
    this.#log.info(applied.length === 0 ? 'reload: nothing changed' : `reload: applied ${applied.join(', ')}`);
    await this.#presence?.apply().catch((error) => this.#log.error(`reload: ${error.message}`));
  }

  /** Ends every stream, child and lock. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(): Promise<void> {
    const config = () => this.#config;
    const parts = { channels: this.#channels, config, refresh: () => this.#catalogue.directory.start() };
    const device = await PublishedDevice.create(parts, this.#state.path, this.#log);
    this.#device = device;
    const onError = (err: Error) => this.#log.error({ err }, `a connection could not be taken: ${err.message}`);
    const connections = new Connections(config, this.#proxies, (why, detail) => {
      this.#metrics.connectionRefused(why);
      this.#log.warn(`a connection was closed: ${detail}`);
    });
    const http = await HttpServer.listen(this.#config, { connections, listener: this.#router(device), onError });
    this.#http = http;
    this.#log.info(`dashboard: ${http.url}`);
    if (http.isOpenToTheNetwork) this.#log.info(`open to the network: ${whoMay(this.#config)}`);
    this.#presence = new Presence({ device, config, port: http.port }, this.#log);
    await this.#presence.apply();
    void this.#catalogue
      .start()
      .then(() => this.#asked())
      .catch(this.#complain);
  }

  /** A fault of ours, which those who watch don't pay for. */
  readonly #complain = (err: Error): void => this.#log.error({ err }, `channels or guide: ${err.message}`);

  #router(device: PublishedDevice): ReturnType<typeof createRouter> {
    const onWrong = (who: string) => this.#log.warn(who);
    const gate = new TokenGate('--operator-token', () => this.#config.operatorToken, onWrong);
    return createRouter({
      channels: this.#channels,
      device,
      config: () => this.#config,
      viewers: this.#viewers,
      proxies: this.#proxies,
      outputs: this.#outputs,
      told: this.#told,
      catalogue: this.#catalogue,
      registry: this.#metrics.registry,
      demo: this.#config.demo,
      baseUrl: () => baseUrlOf(this.#config, this.#http?.url),
      readiness: this.#readiness,
      operator: { channels: this.#channels, gate, log: this.#log },
      log: this.#log,
      publishGate: new TokenGate('--publish-token', () => this.#config.publishToken, onWrong),
      names: this.#config,
    });
  }

  #sayHowToWatch(): void {
    const [first] = this.#channels;
    if (!first || !this.#http) return;
    for (const line of howToWatch(first.entry.id, this.#http.url)) this.#log.info(line);
  }

  /** Every provider was asked once. */
  #asked(): void {
    if (this.#closed || this.#channels.size > 0) return;
    this.#log.warn('no channel is known yet; each is published as soon as it is');
  }

  #view(): PublisherView {
    const { demo, operatorToken } = this.#config;
    return {
      ...{ version: version(), pid: process.pid, host: hostname() },
      startedAt: this.#startedAt.toISOString(),
      demo,
      unready: this.#readiness.reasons(),
      operable: operatorToken !== undefined,
      deviceId: this.#device?.deviceId ?? null,
    };
  }

  async #close(): Promise<void> {
    this.#readiness.stopping();
    this.#http?.stopAccepting();
    this.#told.feed[Symbol.dispose]();
    const [catalogue, outputs, channels] = [this.#catalogue, this.#outputs, this.#channels];
    await finishAll(
      [this.#presence, catalogue, outputs, channels, this.#encoders].map((part) => () => part?.[Symbol.asyncDispose]()),
      [() => this.#controls[Symbol.asyncDispose]()],
      [() => this.#http?.[Symbol.asyncDispose](), () => this.#simulator?.close()],
      [() => this.#device?.lineup.settled()],
      [() => this.#state[Symbol.asyncDispose]()],
      [() => this.#metrics[Symbol.dispose]()],
    );
  }
}
