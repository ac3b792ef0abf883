import { createHash, timingSafeEqual } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { type Problem, sendProblem } from './responses.ts';
import type { Exchange } from './router.ts';
import { householdOf } from './viewers.ts';

/** So many wrong tokens may come from one address at once, and one more every 12 s. One that it sent before is no guess. */
const GUESSES = 5;
const RETRY_SECONDS = 12;
/** Of so many addresses the wrong tokens are counted at a time. */
const ADDRESSES = 1_000;

/** Why a request may not change anything, and the headers that go with it. */
export interface Refusal extends Problem {
  readonly headers: Readonly<Record<string, string>>;
}

/** How many more wrong tokens an address may send, as of a time in seconds, and the digests of the last that it sent. */
interface Guesses {
  readonly left: number;
  readonly at: number;
  readonly wrong: readonly Buffer[];
}

const NONE: Guesses = { left: GUESSES, at: 0, wrong: [] };

/** Lets pass who has the token, in `Authorization: Bearer <token>`. Without a token that is configured nobody has it. */
export class TokenGate {
  readonly #token: () => string | undefined;
  readonly #flag: string;
  readonly #onWrong: (who: string) => void;
  readonly #guesses = new Map<string, Guesses>();

  /**
   * @param token asked for each request, so that it can change
   * @param onWrong told of each guess
   */
  constructor(
    flag: '--operator-token' | '--publish-token',
    token: () => string | undefined,
    onWrong: (who: string) => void,
  ) {
    this.#flag = flag;
    this.#token = token;
    this.#onWrong = onWrong;
  }

  /**
   * Undefined for who may pass. Past its guesses an address is told to wait without a look at what it sends, the right
   * token included: else it could go on guessing.
   */
  refusal({ request, client }: Pick<Exchange, 'request' | 'client'>): Refusal | undefined {
    const token = this.#token();
    if (token === undefined) return this.#readOnly();
    const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
    if (given === undefined) return this.#unauthorized('', `this needs the token of ${this.#flag} as a bearer token`);
    return this.#judge(digest(given), digest(token), householdOf(client));
  }

  #judge(given: Buffer, right: Buffer, address: string): Refusal | undefined {
    const guesses = this.#guessesOf(address);
    const isGuess = !guesses.wrong.some((known) => known.equals(given));
    if (isGuess && guesses.left < 1) return tooManyGuesses();
    if (timingSafeEqual(given, right)) return undefined;
    if (isGuess) this.#count(address, guesses, given);
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

  /** As of now. */
  #guessesOf(address: string): Guesses {
    const { left, at, wrong } = this.#guesses.get(address) ?? NONE;
    const now = performance.now() / 1_000;
    return { left: Math.min(GUESSES, left + (now - at) / RETRY_SECONDS), at: now, wrong };
  }

  #count(address: string, { left, at, wrong }: Guesses, guess: Buffer): void {
    this.#guesses.delete(address);
    this.#guesses.set(address, { left: left - 1, at, wrong: [guess, ...wrong].slice(0, GUESSES) });
    const [oldest] = this.#guesses.keys();
    if (this.#guesses.size > ADDRESSES && oldest !== undefined) this.#guesses.delete(oldest);
    this.#onWrong(`${address} sent a token that is not that of ${this.#flag}`);
  }
}

export function sendRefusal(response: ServerResponse, { headers, ...problem }: Refusal): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  sendProblem(response, problem);
}

/** Of one length whatever the token is, so that comparing two takes as long however much of one is right. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function tooManyGuesses(): Refusal {
  const headers = { 'Retry-After': String(RETRY_SECONDS) };
  return { status: 429, title: 'Too many wrong tokens', detail: `try again in ${RETRY_SECONDS} s`, headers };
}
