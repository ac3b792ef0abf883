import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import type { Problem } from './responses.ts';

/** The parts of the configuration that say under which names this publisher is known. */
export interface Names {
  readonly bind: string;
  readonly advertise?: string | undefined;
}

/** For whoever watches over the program, under any name. */
const OPEN_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

/**
 * Why a request is not answered that names another host than this one; undefined if it is. A publisher that only this
 * host can reach is also reached by every page in a browser on it whose name was made to lead here (DNS rebinding): such a
 * page names itself. Whoever listens to the network is known by names that can't be told.
 */
export function misdirected(names: Names, host: string | undefined, path: string): Problem | undefined {
  if (!isLoopback(names.bind) || host === undefined || OPEN_PATHS.has(path) || isOurs(names, nameIn(host)))
    return undefined;
  const shown = host.slice(0, 100);
  const detail = `${shown} is no name of this publisher, which listens on ${names.bind}; behind a proxy, start it with --advertise http://${shown}/`;
  return { status: 421, title: 'Misdirected request', detail };
}

function isOurs({ advertise }: Names, name: string): boolean {
  const isOfThisHost = name === 'localhost' || name.endsWith('.localhost') || name === hostname().toLowerCase();
  return isOfThisHost || isIP(name) !== 0 || (advertise !== undefined && name === nameIn(new URL(advertise).host));
}

/**
 * Whether a URL leads to this publisher: to where it says that it is, to what the request that tells of it was sent to, or
 * to its port on an address or name of this host. What other names lead here is not known.
 */
export function leadsHere(url: string, request: IncomingMessage, baseUrl: string): boolean {
  const port = request.socket.localPort ?? 0;
  const addresses = Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []);
  const names = ['localhost', hostname(), ...addresses].map((name) => `${hostIn(name)}:${port}`);
  const given = [baseUrl, `http://${request.headers.host ?? ''}`].map(placeOf);
  const place = placeOf(url);
  return place !== undefined && [...names, ...given].includes(place);
}

/** Host and port, the same for all names of the loopback. */
function placeOf(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { protocol, host, port } = new URL(url);
  return `${hostIn(host)}:${port || (protocol === 'https:' ? 443 : 80)}`;
}

function hostIn(host: string): string {
  const name = isIP(host) ? host : nameIn(host);
  const isLocal = isLoopback(name) || name.endsWith('.localhost') || name === '0.0.0.0' || name === '::';
  return isLocal ? 'localhost' : name.toLowerCase();
}

export function isLoopback(bind: string): boolean {
  return bind === 'localhost' || bind === '::1' || /^127\./.test(bind);
}

/** Without its port, and an IPv6 address without its brackets. */
function nameIn(host: string): string {
  return host
    .toLowerCase()
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
}
