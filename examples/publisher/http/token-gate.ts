import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Problem, sendProblem } from './responses.ts';
import { householdOf } from './viewers.ts';

/** So many wrong tokens may come from one address at once, and one more every 12 s. */
const GUESSES = 5;
const RETRY_SECONDS = 12;
/** Of so many addresses the wrong tokens are counted at a time. */
const ADDRESSES = 1_000;

/** Why a request may not change anything, and the headers that go with it. */
export interface Refusal extends Problem {
  readonly headers: Readonly<Record<string, string>>;
}

/** How many more wrong tokens an address may send, as of a time in seconds. */
interface Guesses {
  readonly left: number;
  readonly at: number;
}

/** Lets pass who has the token, in `Authorization: Bearer <token>`. Without a token that is configured nobody has it. */
export class TokenGate {
  readonly #token: () => string | undefined;
  readonly #flag: string;
  readonly #guesses = new Map<string, Guesses>();

  /** @param token asked for each request, so that it can change */
  constructor(flag: '--operator-token' | '--publish-token', token: () => string | undefined) {
    this.#flag = flag;
    this.#token = token;
  }

  /** Undefined for who may pass. */
  refusal(request: IncomingMessage): Refusal | undefined {
    const token = this.#token();
    const address = householdOf(request.socket.remoteAddress ?? '');
    if (token === undefined) return this.#readOnly();
    if (this.#guessesLeft(address) < 1) return tooManyGuesses();
    const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
    if (given === undefined) return this.#unauthorized('', `this needs the token of ${this.#flag} as a bearer token`);
    if (isSame(given, token)) return undefined;
    this.#count(address);
    return this.#unauthorized(', error="invalid_token"', `this is not the token of ${this.#flag}`);
  }

  #readOnly(): Refusal {
    const detail = `nobody may do this: no token is configured; see ${this.#flag}`;
    return { status: 403, title: 'This publisher is read-only', detail, headers: {} };
  }

  #unauthorized(more: string, detail: string): Refusal {
    const headers = { 'WWW-Authenticate': `Bearer realm="holdfast-publisher"${more}` };
    return { status: 401, title: 'A token is needed', detail, headers };
  }

  #guessesLeft(address: string): number {
    const { left, at } = this.#guesses.get(address) ?? { left: GUESSES, at: 0 };
    return Math.min(GUESSES, left + (performance.now() / 1_000 - at) / RETRY_SECONDS);
  }

  #count(address: string): void {
    const left = this.#guessesLeft(address) - 1;
    this.#guesses.delete(address);
    this.#guesses.set(address, { left, at: performance.now() / 1_000 });
    const [oldest] = this.#guesses.keys();
    if (this.#guesses.size > ADDRESSES && oldest !== undefined) this.#guesses.delete(oldest);
  }
}

export function sendRefusal(response: ServerResponse, { headers, ...problem }: Refusal): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  sendProblem(response, problem);
}

/** How long it takes tells nothing about how much of it was right, nor how long the right one is. */
function isSame(given: string, token: string): boolean {
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function tooManyGuesses(): Refusal {
  const headers = { 'Retry-After': String(RETRY_SECONDS) };
  return { status: 429, title: 'Too many wrong tokens', detail: `try again in ${RETRY_SECONDS} s`, headers };
}
