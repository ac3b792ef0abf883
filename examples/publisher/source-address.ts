import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sourceKey } from 'holdfast';

/** Two letters or more: `C:` is a drive. */
const SCHEME = /^[a-z][a-z0-9+.-]+:/i;

/** A channel of an HDHomeRun, as a URL names it. */
export interface TunerStream {
  readonly url: URL;
  /** `5.1`, or `ch473000000-3`. */
  readonly channel: string;
}

/** What a URL means if it has the form of an HDHomeRun's stream, however it is spelled. */
export function tunerStream(text: string): TunerStream | undefined {
  const url = URL.parse(keyOf(text)?.replace(/^url:(?=http:)/, '') ?? '');
  const [, channel] = /^\/(?:auto|tuner\d+)\/v?([^/]+)$/.exec(url?.pathname ?? '') ?? [];
  return url && channel ? { url, channel } : undefined;
}

/** What it is locked by; what is no address at all is told when it is locked. */
export function keyOf(text: string): string | undefined {
  try {
    return sourceKey(text);
  } catch {
    return undefined;
  }
}

/** The file that an address is, absolute; undefined for what has another scheme. An odd one means what ffmpeg makes of it. */
export function filePath(url: string): string | undefined {
  if (!/^file:/i.test(url)) return SCHEME.test(url) ? undefined : resolve(url);
  try {
    return fileURLToPath(url);
  } catch {
    return url.slice('file:'.length);
  }
}

/** What a request sends for the user and password of its URL, which may be spelled as they are (`100%`). */
export function authorizationOf({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  return `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64')}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
