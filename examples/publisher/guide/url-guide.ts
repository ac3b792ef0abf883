import { redactCredentials } from 'holdfast';
import { authorizationOf } from '../source-address.ts';
import { GuideError } from './errors.ts';
import type { GuideSource, Pulled, Validators } from './guide-source.ts';

const HOUR_MS = 3_600_000;

/** An XMLTV document at an http(s) URL, packed or not. It is asked for every four hours, and answered only if it changed. */
export class UrlGuide implements GuideSource {
  readonly name: string;
  readonly key: string;
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
    this.key = url;
    this.name = redactCredentials(url);
  }

  pull(before: Validators, signal: AbortSignal): Promise<Pulled | undefined> {
    return pullUrl(this.#url, before, signal);
  }

  nextPullMs(): number {
    return 4 * HOUR_MS;
  }
}

/** @throws GuideError, without credentials, if the answer is no document */
export async function pullUrl(url: string, before: Validators, signal: AbortSignal): Promise<Pulled | undefined> {
  const response = await fetchUrl(url, before, signal);
  const { status, statusText, headers, body } = response;
  if (status === 304 && (before.etag ?? before.lastModified) !== undefined) return undefined;
  if (!response.ok || !body) {
    await body?.cancel();
    throw new GuideError(`it answered ${status} ${statusText}`.trim());
  }
  const [etag, lastModified] = [headers.get('etag') ?? undefined, headers.get('last-modified') ?? undefined];
  return { bytes: body, etag, lastModified };
}

async function fetchUrl(url: string, { etag, lastModified }: Validators, signal: AbortSignal): Promise<Response> {
  const { address, authorization } = withoutUser(url);
  const headers = {
    ...(authorization && { Authorization: authorization }),
    ...(etag !== undefined && { 'If-None-Match': etag }),
    ...(lastModified !== undefined && { 'If-Modified-Since': lastModified }),
  };
  try {
    return await fetch(address, { signal, headers });
  } catch (error) {
    signal.throwIfAborted();
    const { cause } = error as { cause?: NodeJS.ErrnoException };
    throw new GuideError(`it can't be reached: ${redactCredentials(cause?.message || cause?.code || String(error))}`);
  }
}

/** `fetch` takes no user and password in a URL. */
function withoutUser(url: string): { address: string; authorization?: string } {
  const address = new URL(url);
  const authorization = authorizationOf(address);
  [address.username, address.password] = ['', ''];
  return { address: address.href, ...(authorization && { authorization }) };
}
