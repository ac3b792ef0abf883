import { createHash } from 'node:crypto';
import { lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, resolve } from 'node:path';
import { domainToASCII, fileURLToPath } from 'node:url';
import {
  decodeOctets,
  disguised,
  encodeOctets,
  isAmbiguousParameter,
  isSecretParameter,
  withoutCredentials,
  withoutUsers,
} from '../internal/redact.ts';

/** A scheme of two letters or more: `C:` is a drive. Blanks before it are not part of a URL. */
const SCHEME = /^[\s\p{Cc}]*[a-z][a-z0-9+.-]+:/iu;

/** ffmpeg takes what follows for a path as it is, without escapes. */
const FILE_SCHEME = /^[\s\p{Cc}]*file:(?!\/)/iu;

/** ffmpeg's caches before an input do not make it another source. */
const WRAPPERS = /^\s*(?:(?:async|cache):)+/i;

/** Ports that say nothing; the URL class knows those of the web only. */
const DEFAULT_PORTS: Record<string, string> = {
  'mms:': '1755',
  'mmsh:': '80',
  'mmst:': '1755',
  'rtmp:': '1935',
  'rtmpe:': '1935',
  'rtmps:': '443',
  'rtmpt:': '80',
  'rtmpte:': '80',
  'rtmpts:': '443',
  'rtsp:': '554',
  'rtsps:': '322',
};

/**
 * The canonical identity of a physical source: equal for two spellings of one source, never with a credential in it.
 *
 * - A string with a scheme, or a URL: scheme and host in lower case, without user, password, fragment, default port and
 *   a trailing dot of the host; query parameters sorted by name, those that carry credentials (`token`, `password`, …)
 *   removed, and `key`, which may be one and may name the source, by its hash. `hdhomerun:1234abc2/v5.1` names a channel
 *   of a device by its ID.
 * - Anything else is a path. A file or directory is known by device and inode, so links and mounts do not matter; a
 *   device node by its device number; what does not exist yet by its directory and name.
 *
 * It can not know that two URLs lead to the same machine; give all identities of such a source to `acquire`. Nor can it
 * know a secret in a part of a URL that is not made for one, or what a directory will be that is not made yet.
 *
 * @throws TypeError for an empty string or a broken URL.
 */
export function sourceKey(source: string | URL): string {
  return sourceIdentities(source)[0];
}

/**
 * The key of a source, and after it what else must be locked: a file or device by its name in its directory too, and by
 * the names of the links to it that were followed, since that is all that is known of it to one who locks it before it is
 * made or after it is removed.
 */
export function sourceIdentities(source: string | URL): readonly [key: string, ...others: string[]] {
  if (typeof source !== 'string' && !(source instanceof URL)) {
    throw new TypeError(`a source must be a string or a URL, received ${typeof source}`);
  }
  const text = String(source).toWellFormed().replace(WRAPPERS, '');
  const path = FILE_SCHEME.test(text) ? text.slice(text.indexOf(':') + 1) : text;
  if (path === '') throw new TypeError('a source must not be an empty string');
  if (path !== text || !SCHEME.test(text)) return pathIdentities(path);
  const url = parse(text);
  return url.protocol === 'file:' ? pathIdentities(filePath(url)) : [urlKey(url)];
}

function parse(text: string): URL {
  const url = URL.parse(
    // Stream IDs of SRT begin with `#!::`, and its readers know no fragments.
    (/^\s*srt:/i.test(text) ? text.replaceAll('#', '%23') : text)
      // An address to listen on (`udp://:1234`) has no host, which the URL class refuses.
      .replace(/^(\s*(?:udp|srt|rtp|tcp|rtmp|rtsp):\/\/)@?(?=:\d)/i, '$10.0.0.0')
      // A device's ID is not a host's name: digits alone would be read as an IP address.
      .replace(/^(\s*hdhomerun:)\/+/i, '$1'),
  );
  return url ?? refuse(text);
}

function filePath(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch {
    return refuse(url.protocol);
  }
}

/** The text is not repeated: what could not be parsed may hold a password anywhere. */
function refuse(text: string): never {
  throw new TypeError(`a source that starts with ${text.slice(0, text.indexOf(':') + 1)} must be a valid URL`);
}

function urlKey(url: URL): string {
  const path = urlPath(url);
  // Without a host too if the path begins with two slashes, which would make its beginning one.
  const authority = url.host !== '' || path.startsWith('//') ? `//${urlHost(url)}` : '';
  return `url:${url.protocol}${authority}${path}${urlQuery(url)}`;
}

function urlHost({ hostname, port, protocol }: URL): string {
  // The URL class leaves hosts as they are written if it does not know the scheme.
  const name = domainToASCII(hostname) || hostname.toLowerCase();
  const visiblePort = port === '' || port === DEFAULT_PORTS[protocol] ? '' : `:${port}`;
  return `${name.replace(/(?<=[^.])\.$/, '')}${visiblePort}`;
}

function urlPath({ protocol, host, pathname }: URL): string {
  // `joe:secret@host` has the form of a URL whose scheme is `joe`; without the `@`, a slash after it would mean another.
  const written = host === '' ? pathname.replace(/^[^/]*(?:@|%40)/i, '@') : pathname || '/';
  // Twice: a credential may be one only before octets are decoded, `password=%26…`, or only after.
  const path = visiblePath(visiblePath(written));
  // Device IDs are hexadecimal: their case says nothing.
  return protocol === 'hdhomerun:' ? path.replace(/^@?([0-9a-f]{8})(?=[/-]|$)/i, (_, id) => id.toUpperCase()) : path;
}

function visiblePath(path: string): string {
  if (!/[%=@]/.test(path)) return normalPath(path);
  return normalPath(withoutUsers(path).replace(/[^/]+/g, (segment) => withoutCredentials(segment)));
}

/** RFC 3986: what a path may hold plainly is not encoded, all else is; an encoded slash is another than a plain one. */
function normalPath(path: string): string {
  return path.replace(/%[0-9a-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/-]/gi, (found) => {
    const octet = decodeOctets(found);
    return /[A-Za-z0-9._~!$&'()*+,;=:@-]/.test(octet) ? octet : encodeOctets(octet);
  });
}

/** Decoded as forms are: `+` is a blank. Sorted by name alone, as the order of the values of one name may matter. */
function urlQuery({ search }: URL): string {
  const parameters: { readonly name: string; readonly value: string }[] = [];
  for (const parameter of search.slice(1).replaceAll('+', '%20').split('&')) {
    const [, written = '', value = ''] = /^([^=]*)=?(.*)$/s.exec(parameter) ?? [];
    const name = normalPart(written);
    if (parameter === '' || isSecretParameter(name)) continue;
    // In `?http://camera/?token=…` the name has a secret's at its end.
    const last = decodeOctets(name).replace(/^.*[?&;]/s, '');
    parameters.push({ name, value: isSecretParameter(last) ? '' : queryValue(last, value) });
  }
  parameters.sort((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
  return parameters.map(({ name, value }, index) => `${index === 0 ? '?' : '&'}${name}=${value}`).join('');
}

function queryValue(name: string, value: string): string {
  return isAmbiguousParameter(name) ? disguised(value) : normalPart(value);
}

function normalPart(text: string): string {
  if (/^[\w.~-]*$/.test(text)) return text;
  return encodeOctets(withoutCredentials(decodeOctets(withoutCredentials(text, 0))));
}

function pathIdentities(text: string): readonly [key: string, ...others: string[]] {
  if (text.includes('\0')) throw new TypeError('a path must not contain a null character');
  const path = absolute(text, process.cwd());
  const key = pathKey(path);
  return [key, ...pathNames(path).filter((name) => name !== key)];
}

function pathKey(path: string): string {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats?.isCharacterDevice()) return `device:char:${stats.rdev}`;
  if (stats?.isBlockDevice()) return `device:block:${stats.rdev}`;
  if (stats) return `file:${stats.dev}:${stats.ino}`;
  const target = linkTarget(path);
  return target === undefined ? pathName(path) : pathKey(target);
}

/** Of a path, and of what it links to. `/dev/stdin` has none: it is another file for each process. */
function pathNames(path: string): string[] {
  const target = linkTarget(path);
  if (target === undefined) return [pathName(path)];
  return target.startsWith('/proc/') ? [] : [pathName(path), ...pathNames(target)];
}

/** A name that holds a credential is told from others by its hash. */
function pathName(path: string): string {
  const name = basename(path);
  const visible = withoutCredentials(name);
  return `${pathKey(dirname(path))}/${visible === name ? name : `${visible}#${hash(name)}`}`;
}

function linkTarget(path: string): string | undefined {
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink();
  return isLink ? absolute(readlinkSync(path), dirname(path)) : undefined;
}

/** `..` after a link does not lead back to where the link is, so the text alone does not say what it means. */
function absolute(text: string, directory: string): string {
  let path = isAbsolute(text) ? text : `${directory}/${text}`;
  for (;;) {
    const [all, before = ''] = /^(.*?)\/\.\.(?=\/|$)/s.exec(path) ?? [];
    if (all === undefined) return resolve(path);
    path = `${dirname(realPath(resolve('/', before)))}${path.slice(all.length)}`;
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return path;
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
  return `${slug}-${hash(key)}.lock`;
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
