import { isIP, isIPv6 } from 'node:net';

/** Whether it is the address of a host, or of a network by its prefix. */
export function isProxy(text: string): boolean {
  const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  return isIP(address) !== 0 && (prefix === undefined || Number(prefix) <= (isIPv6(address) ? 128 : 32));
}
