import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import {
  answerGetset,
  broadcastsFor,
  ControlServer,
  type DiscoverReply,
  DiscoveryResponder,
  deviceUuid,
  localAddressTowards,
  localNetworks,
  MEDIA_SERVER,
  SSDP_PORT,
  SsdpResponder,
  TUNER_DEVICE,
} from '../../hdhomerun/index.ts';
import type { Config } from '../config/config.ts';
import { StartError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { version } from '../version.ts';
import type { PublishedDevice } from './published-device.ts';
import { Renewed } from './renewed.ts';
import { PublishedVariables } from './variables.ts';

/** What the device needs to be found. */
export interface PresenceParts {
  readonly device: PublishedDevice;
  readonly config: () => Config;
  /** Of the HTTP server. */
  readonly port: number;
}

const EVERYWHERE: Readonly<Record<string, string>> = { '0.0.0.0': '0.0.0.0', '::': '0.0.0.0' };

/** Of a name, the address of it that is listened on. */
export async function bindAddress(bind: string): Promise<string> {
  return isIP(bind) ? bind : (await lookup(bind)).address;
}

/** Where players are heard that look for devices, of an address that all else is on: there are no broadcasts in IPv6. */
export function discoveryAddress(address: string): string {
  return EVERYWHERE[address] ?? address;
}

/** How often what could not be had is tried again, and the networks of this host are looked at. */
const LOOK_EVERY_MS = 30_000;

/**
 * This publisher on the network: answers those who look for HDHomeRuns, by their own discovery and by SSDP. A port that was
 * taken is had when it is free, and a network that comes later is answered too.
 */
export class Presence implements AsyncDisposable {
  readonly #parts: PresenceParts;
  readonly #log: Logger;
  readonly #discovery = new Renewed();
  readonly #ssdp = new Renewed();
  readonly #timer: NodeJS.Timeout;
  /** What failed last, so that it is said once. */
  #complaint: string | undefined;
  /** One change after the other. */
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(parts: PresenceParts, log: Logger, lookEveryMs: number = LOOK_EVERY_MS) {
    this.#parts = parts;
    this.#log = log;
    this.#timer = setInterval(() => this.#look(), lookEveryMs).unref();
  }

  /**
   * Does what the configuration says, and nothing if that is what is done already.
   *
   * @throws StartError if discovery is `on` and its port can't be had; then nothing is answered until it can.
   */
  apply(): Promise<void> {
    const applied = this.#turn.then(() => this.#apply());
    this.#turn = applied.catch(() => {});
    return applied;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#turn;
    await this.#end();
  }

  #look(): void {
    const said = this.#complaint;
    this.apply().catch((error: Error) => {
      if (this.#complaint !== said) this.#log.error(error.message);
    });
  }

  async #apply(): Promise<void> {
    if (this.#isClosed) return;
    const { bind, discovery } = this.#parts.config();
    if (discovery === 'off') return this.#end();
    const address = await bindAddress(bind);
    if (await this.#answerDiscovery(address)) await this.#answerSsdp(address);
  }

  async #end(): Promise<void> {
    await Promise.all([this.#discovery[Symbol.asyncDispose](), this.#ssdp[Symbol.asyncDispose]()]);
  }

  async #answerDiscovery(address: string): Promise<boolean> {
    const { discoveryPort: port, discovery, bind } = this.#parts.config();
    const { deviceId } = this.#parts.device;
    const broadcasts = broadcastsFor(discoveryAddress(address));
    try {
      await this.#discovery.run(JSON.stringify([address, port, deviceId, broadcasts]), async () => {
        const listening = await this.#listen(address, port, broadcasts);
        this.#log.info(`discovery: HDHomeRun ${deviceId} on port ${port} of ${bind}`);
        this.#complaint = undefined;
        return listening;
      });
      return true;
    } catch (error) {
      await this.#end();
      const why = complaintOf(error as NodeJS.ErrnoException, port, this.#parts.port);
      const isNews = this.#isNews(why);
      if (discovery === 'on') throw new StartError(`cannot answer discovery on ${bind}: ${why}`, { cause: error });
      if (isNews) this.#log.info(`discovery is off: ${why}; players find this publisher by its address`);
      return false;
    }
  }

  #isNews(complaint: string): boolean {
    const isNews = this.#complaint !== complaint;
    this.#complaint = complaint;
    return isNews;
  }

  async #listen(address: string, port: number, broadcasts: string[]): Promise<AsyncDisposable> {
    const answer = answerGetset.bind(undefined, new PublishedVariables(this.#parts.device));
    const control = await ControlServer.start({ address, port, answer });
    const describe = async (peer: { readonly address: string }) => {
      const own = await this.#addressTowards(peer.address, address);
      if (own === undefined) throw new Error(`${peer.address} is of another network`);
      return this.#describe(own);
    };
    const udp = discoveryAddress(address);
    try {
      const responder = await DiscoveryResponder.start({ address: udp, port, broadcasts, describe });
      return { [Symbol.asyncDispose]: async () => void (await Promise.all([control, responder].map(dispose))) };
    } catch (error) {
      await dispose(control);
      throw error;
    }
  }

  /** Not on this host alone: nobody sends multicasts there. */
  async #answerSsdp(address: string): Promise<void> {
    if (isLoopback(address)) return this.#ssdp[Symbol.asyncDispose]();
    const isEverywhere = EVERYWHERE[address] !== undefined;
    const interfaces = isEverywhere ? localNetworks().map((network) => network.address) : [address];
    const { deviceId } = this.#parts.device;
    const announced = [deviceId, ...interfaces.map((own) => this.#baseUrl(own))];
    try {
      await this.#ssdp.run(JSON.stringify([interfaces, announced]), async () => {
        const responder = await this.#respond(address, interfaces);
        this.#complaint = undefined;
        return responder;
      });
    } catch (error) {
      const why = `SSDP is not answered on port ${SSDP_PORT}: ${(error as Error).message}`;
      if (this.#isNews(why)) this.#log.warn(why);
    }
  }

  #respond(address: string, interfaces: readonly string[]): Promise<SsdpResponder> {
    return SsdpResponder.start({
      uuid: deviceUuid(this.#parts.device.deviceId),
      deviceType: MEDIA_SERVER,
      product: `holdfast/${version()}`,
      interfaces,
      location: (own) => `${this.#baseUrl(own)}/device.xml`,
      addressTowards: (peer) => this.#addressTowards(peer, address),
    });
  }

  #describe(own: string): DiscoverReply {
    const { deviceId, deviceAuth, tunerCount } = this.#parts.device.served;
    const baseUrl = this.#baseUrl(own);
    return { deviceType: TUNER_DEVICE, deviceId, deviceAuth, baseUrl, tunerCount, lineupUrl: `${baseUrl}/lineup.json` };
  }

  /** How a peer reaches us; undefined for one that can't, as it is on no network that is listened on. */
  async #addressTowards(peer: string, bound: string): Promise<string | undefined> {
    if (isLoopback(bound)) return isLoopback(peer) ? bound : undefined;
    const own = await localAddressTowards(peer);
    return EVERYWHERE[bound] !== undefined || own === bound ? own : undefined;
  }

  #baseUrl(own: string): string {
    const { advertise } = this.#parts.config();
    if (advertise !== undefined) return advertise.replace(/\/+$/, '');
    return `http://${own.includes(':') ? `[${own}]` : own}:${this.#parts.port}`;
  }
}

function dispose(disposable: AsyncDisposable): PromiseLike<void> {
  return disposable[Symbol.asyncDispose]();
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

function complaintOf(error: NodeJS.ErrnoException, port: number, httpPort: number): string {
  if (error.code === 'EADDRINUSE' && port === httpPort) {
    return `port ${port} is that of HTTP here (EADDRINUSE); choose another with --discovery-port`;
  }
  if (error.code === 'EADDRINUSE') {
    return `port ${port} is taken by another program, a device or publisher on this host (EADDRINUSE); see --discovery`;
  }
  if (error.code === 'EACCES') {
    return `port ${port} may not be used by this user (EACCES); choose one above 1023 with --discovery-port`;
  }
  return `${error.message}; see --discovery and --bind`;
}
