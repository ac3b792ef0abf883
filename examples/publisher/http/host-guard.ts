import { isIP } from 'node:net';
import { hostname } from 'node:os';
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
