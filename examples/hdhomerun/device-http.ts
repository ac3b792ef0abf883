import { get, type IncomingMessage } from 'node:http';
import { addAbortSignal } from 'node:stream';
import { redactCredentials } from 'holdfast';
import { Deadline } from './deadline.ts';
import {
  DEVICE_CODES,
  type DeviceError,
  DeviceResponseError,
  DeviceUnreachableError,
  deviceErrorOf,
} from './errors.ts';

/** HTTP as a device speaks it: a connection per request, closed at once when it is no longer wanted. */

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Until the whole document is read, or, of a stream, until its head is here. */
  readonly timeoutMs: number;
}

/** Opens a URL and answers as soon as the head is here. Rejects with a typed error for anything but 200. */
export async function open(url: URL, options: RequestOptions): Promise<IncomingMessage> {
  using deadline = timeLimit(url, options);
  return await requestHead(url, deadline.signal);
}

/** Reads a small document. `maxBytes` bounds what a broken or hostile device can make this process hold. */
async function readText(url: URL, options: RequestOptions & { readonly maxBytes: number }): Promise<string> {
  using deadline = timeLimit(url, options);
  const response = addAbortSignal(deadline.signal, await requestHead(url, deadline.signal));
  try {
    return await readBody(response, { where: show(url), maxBytes: options.maxBytes });
  } catch (error) {
    deadline.signal.throwIfAborted();
    throw unreachableUnlessTyped(url, error);
  } finally {
    response.destroy();
  }
}

/** Reads a small JSON document; what is no JSON is a {@link DeviceResponseError}. */
export async function readJson(url: URL, options: RequestOptions & { readonly maxBytes: number }): Promise<unknown> {
  const text = await readText(url, options);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DeviceResponseError(show(url), `no JSON but ${excerpt(text)}`, error);
  }
}

/** A URL as it may appear in an error or a log. */
export function show(url: URL): string {
  return redactCredentials(url.href);
}

function timeLimit(url: URL, { signal, timeoutMs }: RequestOptions): Deadline {
  signal?.throwIfAborted();
  return new Deadline(
    timeoutMs,
    () => new DeviceUnreachableError(show(url), `no answer within ${timeoutMs} ms`),
    signal,
  );
}

async function requestHead(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = get(url, { agent: false }, resolve);
  const stop = () => {
    reject(signal.reason);
    request.destroy();
  };
  request.on('error', (error) => reject(unreachableUnlessTyped(url, error)));
  signal.addEventListener('abort', stop, { once: true });
  try {
    return accept(url, await promise);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function accept(url: URL, response: IncomingMessage): IncomingMessage {
  if (response.statusCode === 200) return response;
  response.on('error', () => {}).destroy();
  throw refusalOf(url, response);
}

/** The typed error for an answer that is no stream: by `X-HDHomeRun-Error`, or by its status alone. */
export function refusalOf(url: URL, { statusCode: status = 0, headers, statusMessage }: IncomingMessage): DeviceError {
  const said = String(headers['x-hdhomerun-error'] ?? '');
  const deviceCode = /^\d{3}\b/.test(said) ? Number.parseInt(said, 10) : undefined;
  const known = deviceCode === undefined ? undefined : DEVICE_CODES[deviceCode];
  const detail = said ? `${deviceCode ?? ''} ${known ?? excerpt(said)}`.trim() : statusMessage;
  return deviceErrorOf({
    url: show(url),
    status,
    deviceCode,
    detail,
    retryAfterMs: retryAfterMs(headers['retry-after']),
  });
}

/** Only the form in seconds; devices have no reason to send a date. */
function retryAfterMs(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,5}$/.test(header) ? Number(header) * 1000 : undefined;
}

async function readBody(response: IncomingMessage, limit: { where: string; maxBytes: number }): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limit.maxBytes) throw new DeviceResponseError(limit.where, `it is larger than ${limit.maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function unreachableUnlessTyped(url: URL, error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  if (error instanceof DeviceResponseError || error instanceof DeviceUnreachableError) return error;
  if (String(error.code).startsWith('HPE_')) return new DeviceResponseError(show(url), 'it is no HTTP', error);
  return new DeviceUnreachableError(
    url.host,
    CONNECT_HINTS[String(error.code)] ?? `${error.message || error.code}`,
    error,
  );
}

const CONNECT_HINTS: Record<string, string> = {
  ECONNREFUSED: 'the connection was refused (ECONNREFUSED)',
  ECONNRESET: 'the connection was reset (ECONNRESET)',
  EHOSTUNREACH: 'no route to it (EHOSTUNREACH)',
  ENOTFOUND: 'its name is unknown (ENOTFOUND)',
};

function excerpt(text: string): string {
  return text.trim() === '' ? 'nothing' : JSON.stringify(redactCredentials(text.trim().slice(0, 80)));
}
