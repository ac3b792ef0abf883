import { createHash } from 'node:crypto';
import { type Stats, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isSecretParameter } from '../internal/redact.ts';

/** A scheme of two letters or more: `C:` is a drive. */
const SCHEME = /^[a-z][a-z0-9+.-]+:/i;

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
  if (typeof source !== 'string' && !(source instanceof URL)) {
    throw new TypeError(`a source must be a string or a URL, received ${typeof source}`);
  }
  if (source === '') throw new TypeError('a source must not be an empty string');
  const text = String(source);
  if (!SCHEME.test(text)) return pathKey(resolve(text));
  const url = parse(text);
  return url.protocol === 'file:' ? pathKey(fileURLToPath(url)) : urlKey(url);
}

function parse(text: string): URL {
  try {
    return new URL(text);
  } catch {
    // The text is not repeated: what could not be parsed may hold a password anywhere.
    throw new TypeError(`a source that starts with ${text.slice(0, text.indexOf(':') + 1)} must be a valid URL`);
  }
}

function urlKey(url: URL): string {
  const path = url.protocol === 'hdhomerun:' ? hdhomerunPath(url.pathname) : url.pathname;
  return `url:${url.protocol}${authority(url)}${path}${query(url)}`;
}

function authority({ host, hostname, port, protocol }: URL): string {
  if (host === '') return '';
  const visiblePort = port === '' || port === DEFAULT_PORTS[protocol] ? '' : `:${port}`;
  return `//${hostname.toLowerCase().replace(/\.$/, '')}${visiblePort}`;
}

function query(url: URL): string {
  const parameters = new URLSearchParams(url.search);
  for (const name of [...parameters.keys()]) if (isSecretParameter(name)) parameters.delete(name);
  parameters.sort();
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** Device IDs are hexadecimal: their case says nothing. */
function hdhomerunPath(path: string): string {
  return path.replace(/^[0-9a-f]{8}(?=\/|$)/i, (id) => id.toUpperCase());
}

function pathKey(path: string): string {
  const stats = statOf(path);
  if (stats?.isCharacterDevice()) return `device:char:${stats.rdev}`;
  if (stats?.isBlockDevice()) return `device:block:${stats.rdev}`;
  if (stats) return `file:${stats.dev}:${stats.ino}`;
  const parent = dirname(path);
  const above = parent === path ? '' : pathKey(parent);
  return `${above}/${basename(path)}`;
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
