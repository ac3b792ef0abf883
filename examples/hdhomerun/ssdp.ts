import type { RemoteInfo, Socket } from 'node:dgram';
import { closeSocket, openSocket, send } from './datagrams.ts';

/** SSDP of UPnP 1.0: who looks for media servers by multicast finds the device's description. */

const SSDP_GROUP = '239.255.255.250';
export const SSDP_PORT = 1900;

const ROOT_DEVICE = 'upnp:rootdevice';
/** How long others may believe what was announced; it is announced anew in a third of that. */
const MAX_AGE_SECONDS = 1_800;
/** Who looks may name a time over which the answers are to be spread; no home has so many devices. */
const MAX_DELAY_MS = 1_000;
/** A flood is dropped beyond so many answers that wait or are being sent. */
const MAX_ANSWERS = 64;

export interface SsdpOptions {
  readonly uuid: string;
  /** What the device is: `urn:schemas-upnp-org:device:MediaServer:1`. */
  readonly deviceType: string;
  /** Named in the answers: `holdfast/1.0`. */
  readonly product: string;
  /** The addresses of the networks where it is announced. */
  readonly interfaces: readonly string[];
  /** Where the description is for one who reaches this host by `address`. */
  readonly location: (address: string) => string;
  /** By which of our addresses a peer reaches this host; undefined: it is not to be answered. */
  readonly addressTowards: (peer: string) => Promise<string | undefined>;
}

/** Answers M-SEARCH, announces the device when it comes, from time to time, and when it goes. */
export class SsdpResponder implements AsyncDisposable {
  readonly #options: SsdpOptions;
  readonly #socket: Socket;
  readonly #delays = new Map<NodeJS.Timeout, () => void>();
  readonly #heartbeat: NodeJS.Timeout;
  #announced: Promise<void> = Promise.resolve();
  #answers = 0;
  #isClosed = false;

  /**
   * Rejects with the system's error if the port can't be shared, or if no network takes part in multicast. Only what is
   * sent to the group is received; Linux passes that on from every network that anybody on this host has joined.
   */
  static async start(options: SsdpOptions): Promise<SsdpResponder> {
    const socket = await openSocket({ address: SSDP_GROUP, port: SSDP_PORT, shared: true });
    try {
      join(socket, options.interfaces);
    } catch (error) {
      await closeSocket(socket);
      throw error;
    }
    return new SsdpResponder(options, socket);
  }

  private constructor(options: SsdpOptions, socket: Socket) {
    this.#options = options;
    this.#socket = socket;
    socket.on('message', (datagram, peer) => void this.#receive(datagram, peer));
    socket.on('error', () => {}); // a peer that went away before the answer
    this.#heartbeat = setInterval(() => void this.#announce('ssdp:alive'), (MAX_AGE_SECONDS / 3) * 1_000);
    this.#heartbeat.unref();
    void this.#announce('ssdp:alive');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#heartbeat);
    for (const [timer, wake] of this.#delays) {
      clearTimeout(timer);
      wake();
    }
    await this.#announce('ssdp:byebye');
    await closeSocket(this.#socket);
  }

  async #receive(datagram: Buffer, peer: RemoteInfo): Promise<void> {
    const search = searchIn(datagram);
    const targets = search ? this.#targetsFor(search.target) : [];
    if (!search || targets.length === 0 || this.#answers >= MAX_ANSWERS) return;
    this.#answers += 1;
    try {
      await this.#pause(Math.random() * Math.min(search.maxDelayMs, MAX_DELAY_MS));
      const address = await this.#options.addressTowards(peer.address);
      if (address === undefined) return;
      for (const target of targets) await this.#answer(target, this.#options.location(address), peer);
    } catch {
      // No route back to the peer, or the responder was closed meanwhile.
    } finally {
      this.#answers -= 1;
    }
  }

  /** Under which of its names it is looked for; `ssdp:all` is under each. */
  #targetsFor(wanted: string): string[] {
    return wanted === 'ssdp:all' ? this.#names() : this.#names().filter((name) => name === wanted);
  }

  #names(): string[] {
    return [ROOT_DEVICE, `uuid:${this.#options.uuid}`, this.#options.deviceType];
  }

  async #answer(target: string, location: string, peer: RemoteInfo): Promise<void> {
    if (this.#isClosed) return;
    const answer = message('HTTP/1.1 200 OK', {
      'CACHE-CONTROL': `max-age=${MAX_AGE_SECONDS}`,
      DATE: new Date().toUTCString(),
      EXT: '',
      LOCATION: location,
      SERVER: this.#server,
      ST: target,
      USN: this.#serviceName(target),
    });
    await send(this.#socket, answer, peer);
  }

  /** One after the other: that it goes is the last that is heard of it. */
  #announce(kind: 'ssdp:alive' | 'ssdp:byebye'): Promise<void> {
    this.#announced = this.#announced.then(() => this.#notify(kind));
    return this.#announced;
  }

  /** On every network in turn: which one a multicast leaves by is a setting of the socket. */
  async #notify(kind: 'ssdp:alive' | 'ssdp:byebye'): Promise<void> {
    for (const address of this.#options.interfaces) {
      try {
        this.#socket.setMulticastInterface(address);
        const to = { address: SSDP_GROUP, port: SSDP_PORT };
        await Promise.all(this.#names().map((name) => send(this.#socket, this.#notice(kind, name, address), to)));
      } catch {
        // A network that is down hears nothing.
      }
    }
  }

  #notice(kind: 'ssdp:alive' | 'ssdp:byebye', name: string, address: string): Buffer {
    return message('NOTIFY * HTTP/1.1', {
      HOST: `${SSDP_GROUP}:${SSDP_PORT}`,
      ...(kind === 'ssdp:alive' && this.#whereabouts(address)),
      NT: name,
      NTS: kind,
      USN: this.#serviceName(name),
    });
  }

  #whereabouts(address: string): Readonly<Record<string, string>> {
    const location = this.#options.location(address);
    return { 'CACHE-CONTROL': `max-age=${MAX_AGE_SECONDS}`, LOCATION: location, SERVER: this.#server };
  }

  #serviceName(name: string): string {
    const uuid = `uuid:${this.#options.uuid}`;
    return name === uuid ? uuid : `${uuid}::${name}`;
  }

  get #server(): string {
    return `Linux UPnP/1.0 ${this.#options.product}`;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#delays.delete(timer);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#delays.set(timer, wake);
    });
  }
}

/** One network that has no multicast must not hide the device from the others. */
function join(socket: Socket, interfaces: readonly string[]): void {
  const failures = interfaces.flatMap((address) => {
    try {
      socket.addMembership(SSDP_GROUP, address);
      return [];
    } catch (error) {
      return [error];
    }
  });
  if (failures.length === interfaces.length) throw failures[0] ?? new Error('this host has no network');
}

interface Search {
  readonly target: string;
  readonly maxDelayMs: number;
}

/** What somebody looks for; undefined for anything else, the announcements of others included. */
function searchIn(datagram: Buffer): Search | undefined {
  const [first = '', ...lines] = datagram.toString('latin1', 0, 2_048).split(/\r?\n/);
  if (!/^M-SEARCH \* HTTP\/1\.[01]$/.test(first)) return undefined;
  const header = (name: string) =>
    lines
      .find((line) => line.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim();
  const target = header('st');
  if (target === undefined || header('man') !== '"ssdp:discover"') return undefined;
  const seconds = Number.parseInt(header('mx') ?? '0', 10);
  return { target, maxDelayMs: Number.isFinite(seconds) ? Math.max(0, seconds) * 1_000 : 0 };
}

function message(start: string, headers: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return Buffer.from([start, ...lines, '', ''].join('\r\n'));
}
