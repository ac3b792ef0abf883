import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { plainAddress } from './viewers.ts';

/** The reverse proxies whose word is taken for who asks, in `X-Forwarded-For`; anybody else could write anything there. */
export class TrustedProxies {
  readonly #listed: () => readonly string[];
  #known: { readonly listed: readonly string[]; readonly list: BlockList } | undefined;

  /** @param listed addresses and networks (`10.0.0.0/8`); asked for each request, so that they can change */
  constructor(listed: () => readonly string[]) {
    this.#listed = listed;
  }

  has(address: string): boolean {
    const plain = plainAddress(address);
    return isIP(plain) !== 0 && this.#list().check(plain, familyOf(plain));
  }

  /** The address of who sent a request: of who is connected, or whom the last of the trusted proxies on the way names. */
  clientOf({ socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>): string {
    let client = plainAddress(socket.remoteAddress ?? '');
    for (const named of forwardedFor(headers['x-forwarded-for']).toReversed()) {
      if (isIP(named) === 0 || !this.has(client)) break;
      client = plainAddress(named);
    }
    return client;
  }

  #list(): BlockList {
    const listed = this.#listed();
    if (this.#known?.listed !== listed) this.#known = { listed, list: listOf(listed) };
    return this.#known.list;
  }
}

function listOf(listed: readonly string[]): BlockList {
  const list = new BlockList();
  for (const each of listed) {
    const [address = '', prefix] = each.split('/');
    if (prefix === undefined) list.addAddress(address, familyOf(address));
    else list.addSubnet(address, Number(prefix), familyOf(address));
  }
  return list;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}

/** Some proxies put the port behind the address. */
function forwardedFor(header: string | string[] | undefined): string[] {
  return String(header ?? '')
    .split(',')
    .map((part) => part.trim().replace(/^\[([^\]]*)\](?::\d+)?$|^([\d.]+):\d+$/, '$1$2'));
}
