import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { DISCOVERY_PORT } from './discovery.ts';

/** The address of ours that a peer can reach, for a socket that is bound to all of them. Sends nothing. */
export async function localAddressTowards(peer: string): Promise<string> {
  const probe = createSocket(isIPv6(peer) ? 'udp6' : 'udp4');
  try {
    const connected = once(probe, 'connect');
    probe.connect(DISCOVERY_PORT, peer);
    await connected;
    return probe.address().address;
  } finally {
    probe.close();
  }
}
