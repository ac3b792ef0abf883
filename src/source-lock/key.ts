import { createHash } from 'node:crypto';
import { type Stats, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { domainToASCII, fileURLToPath } from 'node:url';
import { isSecretParameter } from '../internal/redact.ts';

/** A scheme of two letters or more: `C:` is a drive. Blanks before it are not part of a URL. */
const SCHEME = /^\s*[a-z][a-z0-9+.-]+:/i;

/** Ports that say nothing; the URL class knows those of the web only. */
const DEFAULT_PORTS: Record<string, string> = { 'rtsp:': '554', 'rtsps:': '322', 'rtmp:': '1935', 'mms:': '1755' };

/**
 * The canonical identity of a physical source: equal for two spellings of one source, never with a credential in it.
 *
 * - A string with a scheme, or a URL: scheme and host in lower case, without user, password, fragment, default port and
 *   a trailing dot of the host; query parameters sorted, those that carry credentials (`token`, `password`, …) removed.
 *   `hdhomerun:1234abc2/v5.1` names a channel of a device by its ID.
 * - Anything else is a path. A file or directory is known by device and inode, so links and mounts do not matter; a
 *   device node by its device number; what does not exist yet by its directory and name.
 *
 * It can not know that two URLs lead to the same machine; give all identities of such a source to `acquire`.
 *
 * @throws TypeError for an empty string or a broken URL.
 */
export function sourceKey(source: string | URL): string {
  return sourceIdentities(source)[0];
}

/**
 * The key of a source, and after it what else must be locked: a file by the name in its directory too, since that is all
 * that is known of it to one who locks it before it is made or after it is removed.
 */
export function sourceIdentities(source: string | URL): readonly [key: string, ...others: string[]] {
  if (typeof source !== 'string' && !(source instanceof URL)) {
    throw new TypeError(`a source must be a string or a URL, received ${typeof source}`);
  }
  const text = withoutWrappers(String(source));
  if (text === '') throw new TypeError('a source must not be an empty string');
  if (/^\s*file:(?!\/)/i.test(text)) return pathIdentities(resolve(text.trim().slice('file:'.length)));
  if (!SCHEME.test(text)) return pathIdentities(resolve(text));
  const url = parse(text);
  return url.protocol === 'file:' ? pathIdentities(fileURLToPath(url)) : [urlKey(url)];
}

/** ffmpeg's caches before an input do not make it another source. */
function withoutWrappers(text: string): string {
  return text.replace(/^\s*(?:(?:async|cache):)+(?=[a-z][a-z0-9+.-]+:)/i, '');
}

/** An address to listen on (`udp://:1234`) has no host, which the URL class refuses. */
function parse(text: string): URL {
  try {
    return new URL(text.replace(/^(\s*(?:udp|srt|rtp|tcp|rtmp|rtsp):\/\/)@?(?=:\d)/i, '$10.0.0.0'));
  } catch {
    // The text is not repeated: what could not be parsed may hold a password anywhere.
    throw new TypeError(`a source that starts with ${text.slice(0, text.indexOf(':') + 1)} must be a valid URL`);
  }
}

function urlKey(url: URL): string {
  return `url:${url.protocol}${authority(url)}${path(url)}${query(url)}`;
}

function authority({ host, hostname, port, protocol }: URL): string {
  if (host === '') return '';
  const visiblePort = port === '' || port === DEFAULT_PORTS[protocol] ? '' : `:${port}`;
  const name = decodeURIComponent(hostname).toLowerCase();
  return `//${(domainToASCII(name) || name).replace(/\.$/, '')}${visiblePort}`;
}

function path({ protocol, host, pathname }: URL): string {
  const upper = pathname.replace(/%[0-9a-f]{2}/gi, normalOctet);
  // Device IDs are hexadecimal: their case says nothing.
  if (protocol === 'hdhomerun:') return upper.replace(/^[0-9a-f]{8}(?=\/|$)/i, (id) => id.toUpperCase());
  return host === '' ? withoutUsers(upper) : upper || '/';
}

/** RFC 3986, 6.2.2: what need not be encoded is not, and the rest is in upper case. */
function normalOctet(octet: string): string {
  const character = String.fromCharCode(Number.parseInt(octet.slice(1), 16));
  return /[A-Za-z0-9._~-]/.test(character) ? character : octet.toUpperCase();
}

function query(url: URL): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of url.searchParams) {
    if (!isSecretParameter(name)) parameters.append(name, withoutUsers(value));
  }
  parameters.sort();
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** Removes user and password from URLs within a URL (`concat:http://u:p@host/a`), and from `user:password@host`. */
function withoutUsers(text: string): string {
  return text.replace(/(:\/\/)[^/?#\s]*@/g, '$1').replace(/^[^/?#]*@/, '');
}

function pathIdentities(path: string): readonly [string, ...string[]] {
  const stats = statOf(path);
  if (stats?.isCharacterDevice()) return [`device:char:${stats.rdev}`];
  if (stats?.isBlockDevice()) return [`device:block:${stats.rdev}`];
  const byName = nameKey(path);
  return stats ? [`file:${stats.dev}:${stats.ino}`, byName] : [byName];
}

function nameKey(path: string): string {
  const parent = dirname(path);
  if (parent === path) return 'file:/';
  return `${pathIdentities(parent)[0]}/${basename(path)}`;
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/**
 * The name of a key's lock file: readable, so that `ls` tells what is locked, and unique by a hash. It depends on nothing
 * but the key: two names of one file must lead to one lock.
 */
export function lockFileName(key: string): string {
  const slug = key
    .replace(/^url:/, '')
    .replace(/[^A-Za-z0-9.]+/g, '-')
    .replace(/^[-.]+|-+$/g, '')
    .slice(0, 64);
  return `${slug}-${createHash('sha256').update(key).digest('hex').slice(0, 16)}.lock`;
}
