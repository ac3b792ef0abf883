import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';

export interface Binding {
  readonly address: string;
  readonly port: number;
  readonly broadcast?: boolean;
  /** Others may have the same port. */
  readonly shared?: boolean;
}

/** Rejects with the system's error (`EADDRINUSE`) if it can't be had. */
export async function openSocket({ address, port, broadcast = false, shared = false }: Binding): Promise<Socket> {
  const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', reuseAddr: shared });
  try {
    const listening = once(socket, 'listening');
    socket.bind(port, address);
    await listening;
    socket.setBroadcast(broadcast);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

export async function closeSocket(socket: Socket): Promise<void> {
  const closed = once(socket, 'close');
  socket.close();
  await closed;
}

export interface Target {
  readonly port: number;
  readonly address: string;
}

export function send(socket: Socket, packet: Buffer, to: Target): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(packet, to.port, to.address, (error) => (error ? reject(error) : resolve()));
  });
}
