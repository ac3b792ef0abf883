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
import { PublishedVariables } from './variables.ts';

/** What the device needs to be found. */
export interface PresenceParts {
  readonly device: PublishedDevice;
  readonly config: () => Config;
  /** Of the HTTP server. */
  readonly port: number;
}

const EVERYWHERE: Readonly<Record<string, string>> = { '0.0.0.0': '0.0.0.0', '::': '0.0.0.0' };

/** This publisher on the network: answers those who look for HDHomeRuns, by their own discovery and by SSDP. */
export class Presence implements AsyncDisposable {
  readonly #parts: PresenceParts;
  readonly #log: Logger;
  #answering: AsyncDisposable[] = [];
  /** What it does now. */
  #applied: string | undefined;
  /** One change after the other. */
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(parts: PresenceParts, log: Logger) {
    this.#parts = parts;
    this.#log = log;
  }

  /**
   * Does what the configuration says, and nothing if that is what is done already.
   *
   * @throws StartError if discovery is `on` and its port can't be had; then nothing is answered.
   */
  apply(): Promise<void> {
    const applied = this.#turn.then(() => this.#apply());
    this.#turn = applied.catch(() => {});
    return applied;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#turn;
    await this.#end();
  }

  async #apply(): Promise<void> {
    const { bind, discovery, discoveryPort } = this.#parts.config();
    const wanted = JSON.stringify([bind, discovery, discoveryPort, this.#parts.device.deviceId]);
    if (wanted === this.#applied || this.#isClosed) return;
    this.#applied = undefined;
    await this.#end();
    if (discovery !== 'off') await this.#begin(isIP(bind) ? bind : (await lookup(bind)).address);
    this.#applied = wanted;
  }

  async #begin(address: string): Promise<void> {
    if (await this.#answerDiscovery(address)) await this.#answerSsdp(address);
  }

  async #end(): Promise<void> {
    await Promise.all(this.#answering.splice(0).map((each) => each[Symbol.asyncDispose]()));
  }

  async #answerDiscovery(address: string): Promise<boolean> {
    const { discoveryPort: port, discovery, bind } = this.#parts.config();
    try {
      await this.#listen(address, port);
      this.#log.info(`discovery: HDHomeRun ${this.#parts.device.deviceId} on port ${port} of ${bind}`);
      return true;
    } catch (error) {
      await this.#end();
      const why = complaintOf(error as NodeJS.ErrnoException, port);
      if (discovery === 'on') throw new StartError(`cannot answer discovery on ${bind}: ${why}`, { cause: error });
      this.#log.info(`discovery is off: ${why}; players find this publisher by its address`);
      return false;
    }
  }

  async #listen(address: string, port: number): Promise<void> {
    const answer = answerGetset.bind(undefined, new PublishedVariables(this.#parts.device));
    this.#answering.push(await ControlServer.start({ address, port, answer }));
    const udp = EVERYWHERE[address] ?? address;
    const describe = async (peer: { readonly address: string }) => {
      const own = await this.#addressTowards(peer.address, address);
      if (own === undefined) throw new Error(`${peer.address} is of another network`);
      return this.#describe(own);
    };
    const broadcasts = broadcastsFor(udp);
    this.#answering.push(await DiscoveryResponder.start({ address: udp, port, broadcasts, describe }));
  }

  /** Not on this host alone: nobody sends multicasts there. */
  async #answerSsdp(address: string): Promise<void> {
    if (isLoopback(address)) return;
    const isEverywhere = EVERYWHERE[address] !== undefined;
    const interfaces = isEverywhere ? localNetworks().map((network) => network.address) : [address];
    try {
      const responder = await SsdpResponder.start({
        uuid: deviceUuid(this.#parts.device.deviceId),
        deviceType: MEDIA_SERVER,
        product: `holdfast/${version()}`,
        interfaces,
        location: (own) => `${this.#baseUrl(own)}/device.xml`,
        addressTowards: (peer) => this.#addressTowards(peer, address),
      });
      this.#answering.push(responder);
    } catch (error) {
      this.#log.warn(`SSDP is not answered on port ${SSDP_PORT}: ${(error as Error).message}`);
    }
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

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

function complaintOf(error: NodeJS.ErrnoException, port: number): string {
  if (error.code === 'EADDRINUSE') {
    return `port ${port} is taken by another program, a device or publisher on this host (EADDRINUSE); see --discovery`;
  }
  if (error.code === 'EACCES') {
    return `port ${port} may not be used by this user (EACCES); choose one above 1023 with --discovery-port`;
  }
  return `${error.message}; see --discovery and --bind`;
}
