import type { ServerResponse } from 'node:http';
import type { Failure } from '../failure.ts';

const SECURITY_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  // The player hands the picture to the page as a blob.
  'Content-Security-Policy':
    "default-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; img-src 'self' data: blob:; " +
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
} as const;

export function setSecurityHeaders(response: ServerResponse): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
}

export interface Body {
  readonly contentType: string;
  readonly content: string | Buffer;
}

/** Node leaves the content out of the answer to HEAD by itself. */
export function send(response: ServerResponse, status: number, { contentType, content }: Body): void {
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(content),
    'Cache-Control': 'no-cache',
  });
  response.end(content);
}

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  send(response, status, { contentType: 'application/json; charset=utf-8', content: JSON.stringify(value) });
}

/** RFC 9457. */
export interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly [extension: string]: unknown;
}

export function sendProblem(response: ServerResponse, problem: Problem): void {
  const content = JSON.stringify({ type: 'about:blank', ...problem });
  send(response, problem.status, { contentType: 'application/problem+json', content });
}

/** Why a channel could not be opened. Players that know HDHomeRun read the header, others the status. */
export function sendFailure(
  response: ServerResponse,
  channel: string,
  failure: Omit<Failure, 'status'> & { readonly status: number },
): void {
  const { deviceError, retryAfterMs, ...problem } = failure;
  if (retryAfterMs !== undefined) response.setHeader('Retry-After', Math.ceil(retryAfterMs / 1000));
  if (deviceError !== undefined) response.setHeader('X-HDHomeRun-Error', deviceError);
  sendProblem(response, { ...problem, channel, retryAfterMs, deviceError });
}
