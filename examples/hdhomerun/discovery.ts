import type { Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { openSocket, send, type Target } from './datagrams.ts';
import { Deadline } from './deadline.ts';
import { DeviceUnreachableError } from './errors.ts';
import { type DiscoverReply, decodeDiscoverReply, encodeDiscoverRequest, TUNER_DEVICE } from './messages.ts';
import { broadcastAddresses } from './networks.ts';
import { decodeFrame, ignoringRubbish } from './packet.ts';

export const DISCOVERY_PORT = 65001;
/** How long one send is waited for. */
const WINDOW_MS = 200;
const MAX_SENDS = 2;

export interface DiscoverOptions {
  /** One device by address or host name. @default every device of the local networks, by broadcast */
  readonly address?: string | undefined;
  /** Only this device: eight hex digits. @default any tuner */
  readonly deviceId?: string | undefined;
  /** @default 65001 */
  readonly port?: number | undefined;
  /** The total; a second request goes out after 200 ms without an answer. @default 400 */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a device says of itself, and where the answer came from. */
export interface DiscoveredDevice extends DiscoverReply {
  readonly address: string;
}

/**
 * Looks for tuners by UDP. Resolves with those that answered, none is an empty list; rejects with `signal.reason` if
 * aborted and with `DeviceUnreachableError` if nothing could be sent. Returns as soon as the one device asked for
 * answered.
 */
export async function discover(options: DiscoverOptions = {}): Promise<DiscoveredDevice[]> {
  const { port = DISCOVERY_PORT, timeoutMs = WINDOW_MS * MAX_SENDS, deviceId } = options;
  options.signal?.throwIfAborted();
  const targets = options.address === undefined ? broadcastAddresses() : [await resolve(options.address)];
  using deadline = new Deadline(timeoutMs, () => undefined, options.signal);
  const socket = await openSocket({ address: '0.0.0.0', port: 0, broadcast: true });
  try {
    const inbox = new Inbox(socket, { deviceId: deviceId?.toUpperCase(), from: options.address && targets[0] });
    const request = encodeDiscoverRequest({ deviceType: TUNER_DEVICE, deviceId });
    for (let sends = 0; sends < MAX_SENDS && inbox.devices.length === 0 && !deadline.signal.aborted; sends++) {
      await sendToAny(
        socket,
        request,
        targets.map((address) => ({ port, address })),
      );
      await inbox.wait(WINDOW_MS, deadline.signal);
    }
    options.signal?.throwIfAborted();
    return inbox.devices;
  } finally {
    socket.close();
  }
}

interface Wanted {
  readonly deviceId: string | undefined;
  readonly from: string | undefined;
}

/** Collects the replies that were asked for: devices answer every request and leave the filtering to the client. */
class Inbox {
  readonly #found = new Map<string, DiscoveredDevice>();
  readonly #wanted: Wanted;
  #wake: () => void = () => {};

  constructor(socket: Socket, wanted: Wanted) {
    this.#wanted = wanted;
    socket.on('message', (datagram, remote) => this.#receive(datagram, remote.address));
    socket.on('error', () => {}); // an ICMP refusal is a device that is not there
  }

  get devices(): DiscoveredDevice[] {
    return [...this.#found.values()];
  }

  #receive(datagram: Buffer, address: string): void {
    const reply = ignoringRubbish(() => decodeDiscoverReply(decodeFrame(datagram)));
    if (!reply || !this.#isWanted(reply, address)) return;
    this.#found.set(reply.deviceId, { ...reply, address });
    if (this.#wanted.deviceId !== undefined || this.#wanted.from !== undefined) this.#wake();
  }

  #isWanted(reply: DiscoverReply, address: string): boolean {
    const { deviceId, from } = this.#wanted;
    const types = [reply.deviceType, ...(reply.deviceTypes ?? [])];
    return (
      types.includes(TUNER_DEVICE) && [reply.deviceId, undefined].includes(deviceId) && (!from || from === address)
    );
  }

  /** Until the only possible answer is here, the window is over or the signal aborts. */
  async wait(windowMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    using window = new Deadline(windowMs, () => undefined, signal);
    window.signal.addEventListener('abort', () => resolve());
    if (window.signal.aborted) resolve();
    await promise;
  }
}

async function resolve(address: string): Promise<string> {
  try {
    return (await lookup(address, 4)).address;
  } catch (error) {
    throw new DeviceUnreachableError(address, 'its name is unknown', error);
  }
}

/** One network that is down must not hide the devices of the others. */
async function sendToAny(socket: Socket, packet: Buffer, targets: readonly Target[]): Promise<void> {
  const sends = await Promise.allSettled(targets.map((target) => send(socket, packet, target)));
  const [first] = sends;
  if (first?.status !== 'rejected' || sends.some(({ status }) => status === 'fulfilled')) return;
  throw new DeviceUnreachableError(
    targets.map(({ address }) => address).join(', '),
    String(first.reason),
    first.reason,
  );
}
