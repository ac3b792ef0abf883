import type { RemoteInfo, Socket } from 'node:dgram';
import { closeSocket, openSocket, send } from './datagrams.ts';
import { type DiscoverReply, type DiscoverRequest, decodeDiscoverRequest, encodeDiscoverReply } from './messages.ts';
import { decodeFrame, ignoringRubbish } from './packet.ts';

export interface ResponderOptions {
  /** Broadcasts only reach a socket bound to `0.0.0.0`, or to the broadcast address itself. */
  readonly address: string;
  readonly port: number;
  /** Broadcast addresses whose requests are answered too, from `address`; one that can't be had is left out. */
  readonly broadcasts?: readonly string[] | undefined;
  /** The device, as it is reached from `peer`. */
  readonly describe: (peer: RemoteInfo) => DiscoverReply | Promise<DiscoverReply>;
}

/** A flood is dropped beyond so many answers that are being made or sent. */
const MAX_ANSWERS = 64;

/**
 * Answers discovery requests. Like a real device it answers all of them, whatever type or ID they look for, and adds
 * the list of its types for those who look for another one; rubbish is dropped without an answer.
 */
export class DiscoveryResponder implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #ears: readonly Socket[];
  readonly #describe: ResponderOptions['describe'];
  #answers = 0;

  private constructor(socket: Socket, ears: readonly Socket[], describe: ResponderOptions['describe']) {
    this.#socket = socket;
    this.#ears = ears;
    this.#describe = describe;
    for (const each of [socket, ...ears]) {
      each.on('message', (datagram, peer) => void this.#receive(datagram, peer));
      each.on('error', () => {}); // a peer that went away before the answer
    }
  }

  /** Rejects with the system's error (`EADDRINUSE`) if the port is taken. */
  static async start({ address, port, broadcasts = [], describe }: ResponderOptions): Promise<DiscoveryResponder> {
    const socket = await openSocket({ address, port });
    const bound = socket.address().port;
    const ears = await Promise.allSettled(broadcasts.map((address) => openSocket({ address, port: bound })));
    const heard = ears.flatMap((ear) => (ear.status === 'fulfilled' ? [ear.value] : []));
    return new DiscoveryResponder(socket, heard, describe);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  async #receive(datagram: Buffer, peer: RemoteInfo): Promise<void> {
    const request = ignoringRubbish(() => decodeDiscoverRequest(decodeFrame(datagram)));
    if (!request || this.#answers >= MAX_ANSWERS) return;
    this.#answers += 1;
    try {
      const reply = await this.#describe(peer);
      const deviceTypes = looksFor(request, reply.deviceType) ? undefined : [reply.deviceType];
      await send(this.#socket, encodeDiscoverReply({ ...reply, deviceTypes }), peer);
    } catch {
      // No route back to the peer, or the responder was closed meanwhile.
    } finally {
      this.#answers -= 1;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#socket, ...this.#ears].map(closeSocket));
  }
}

function looksFor({ deviceType, deviceTypes }: DiscoverRequest, ours: number): boolean {
  return deviceTypes ? deviceTypes.includes(ours) : deviceType === undefined || deviceType === ours;
}
