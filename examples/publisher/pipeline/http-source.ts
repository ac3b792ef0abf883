import { get as httpGet, type IncomingMessage, type RequestOptions } from 'node:http';
import { get as httpsGet } from 'node:https';
import { redactCredentials } from 'holdfast';
import { refusalOf } from '../../hdhomerun/index.ts';
import { RedirectError, RelayLoopError, SourceClosedError, SourceUnreachableError } from '../errors.ts';
import { authorizationOf } from '../source-address.ts';

/** A publisher says so of what it would relay to itself. */
const LOOP_DETECTED = 508;
const MAX_REDIRECTS = 5;
const REDIRECTS: readonly (number | undefined)[] = [301, 302, 303, 307, 308];

/** An answer whose body is the stream. */
export interface HttpAnswer {
  readonly response: IncomingMessage;
  /** Where it came from at last, credentials removed. */
  readonly shown: string;
}

export interface HttpTerms {
  readonly signal: AbortSignal;
  /** @default GET */
  readonly method?: 'GET' | 'HEAD' | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * Opens a URL with a connection of its own, which closes at once when the answer is destroyed. Redirects are followed; what
 * allows to read the first origin is not told to another. Resolves to `undefined` for what this client does not speak (a
 * challenge other than Basic, an answer that is no HTTP) and ffmpeg may. Rejects with a typed error for any other answer
 * than 200, or with `signal.reason`.
 */
export async function openHttp(address: string, terms: HttpTerms): Promise<HttpAnswer | undefined> {
  let url = new URL(address);
  // Node would put it in the request by itself, and fail on a password with a `%` in it.
  let authorization = authorizationOf(url);
  const seen = new Set([url.href]);
  for (;;) {
    const response = await requestHead(url, authorization, terms);
    if (!response) return undefined;
    if (response.statusCode === 200) return { response, shown: show(url) };
    leave(response);
    if (isDigest(response)) return undefined;
    if (response.statusCode === LOOP_DETECTED) throw new RelayLoopError(show(url));
    if (!REDIRECTS.includes(response.statusCode)) throw refusalOf(url, response);
    const next = redirection(url, response, seen);
    authorization = authorizationOf(next) ?? (next.origin === url.origin ? authorization : undefined);
    url = next;
  }
}

/** A URL as it may appear in an error or a log. */
function show(url: URL): string {
  return redactCredentials(url.href);
}

function redirection(from: URL, { headers: { location } }: IncomingMessage, seen: Set<string>): URL {
  const next = location === undefined ? undefined : URL.parse(location, from.href);
  if (!next || !/^https?:$/.test(next.protocol)) {
    throw new RedirectError(show(from), `to ${location ? redactCredentials(location.slice(0, 200)) : 'nowhere'}`);
  }
  if (seen.has(next.href)) throw new RedirectError(show(from), `in a circle, to ${show(next)}`);
  if (seen.size > MAX_REDIRECTS) throw new RedirectError(show(from), `more than ${MAX_REDIRECTS} times`);
  seen.add(next.href);
  return next;
}

function isDigest({ statusCode, headers }: IncomingMessage): boolean {
  return statusCode === 401 && /^digest/i.test(headers['www-authenticate'] ?? '');
}

/** Resolves to `undefined` if what answers speaks no HTTP. */
async function requestHead(
  url: URL,
  authorization: string | undefined,
  { signal, method = 'GET', headers }: HttpTerms,
): Promise<IncomingMessage | undefined> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage | undefined>();
  const request = getterOf(url)({ ...optionsOf(url, authorization, headers), method }, resolve);
  const stop = () => {
    reject(signal.reason);
    request.destroy();
  };
  let isConnected = false;
  const connected = url.protocol === 'https:' ? 'secureConnect' : 'connect';
  request.once('socket', (socket) =>
    socket.once(connected, () => {
      isConnected = true;
    }),
  );
  request.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code?.startsWith('HPE_')) resolve(undefined);
    else reject(isConnected ? new SourceClosedError(show(url), 'cut', error) : unreachable(url, error));
  });
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

const getterOf = ({ protocol }: URL) => (protocol === 'https:' ? httpsGet : httpGet);

/** Without an agent a connection is nobody else's, and closes with its answer. */
function optionsOf(url: URL, authorization: string | undefined, headers: HttpTerms['headers']): RequestOptions {
  return {
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    ...(url.port !== '' && { port: url.port }),
    path: url.pathname + url.search,
    agent: false,
    headers: { Accept: '*/*', 'User-Agent': 'holdfast-publisher', ...headers, ...(authorization && { authorization }) },
  };
}

/** What still comes of an answer that is not wanted is nobody's concern. */
export function leave(response: IncomingMessage): void {
  response.on('error', () => {}).destroy();
}

const HINTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused (ECONNREFUSED); is it running, and is this its port?',
  EHOSTUNREACH: 'no route to it (EHOSTUNREACH); check its address, power and network',
  ENETUNREACH: 'no route to its network (ENETUNREACH)',
  ETIMEDOUT: 'no answer (ETIMEDOUT); check its address, power and network',
  ENOTFOUND: 'its name is unknown (ENOTFOUND); check the name, or take its IP address',
  EAI_AGAIN: 'no name server answers (EAI_AGAIN)',
};
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_/;

function unreachable({ host }: URL, error: NodeJS.ErrnoException): SourceUnreachableError {
  const code = error.code ?? '';
  const hint = CERTIFICATE.test(code)
    ? `its certificate can't be trusted (${code}); name the authority that issued it in NODE_EXTRA_CA_CERTS`
    : HINTS[code];
  return new SourceUnreachableError(host, hint ?? (error.message || code), error);
}
