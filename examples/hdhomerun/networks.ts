import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

/** Where the requests arrive that are meant for all of an address's network; none for one that is no network's. */
export function broadcastsFor(address: string): string[] {
  const own = localNetworks().filter((network) => network.address === address);
  return own.length === 0
    ? []
    : [...own.map(({ address, netmask }) => broadcastOf(address, netmask)), LIMITED_BROADCAST];
}

const LIMITED_BROADCAST = '255.255.255.255';

/** One per network, since 255.255.255.255 leaves by the default route only. */
export function broadcastAddresses(): string[] {
  return localNetworks().map(({ address, netmask }) => broadcastOf(address, netmask));
}

export function localNetworks(): NetworkInterfaceInfo[] {
  const networks = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return networks.filter(({ family, internal }) => family === 'IPv4' && !internal);
}

function broadcastOf(address: string, netmask: string): string {
  const mask = netmask.split('.').map(Number);
  const octets = address.split('.').map((octet, index) => Number(octet) | (~(mask[index] ?? 255) & 255));
  return octets.join('.');
}
