import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { RelayLoopError } from '../errors.ts';
import { type Failure, failureOf } from '../failure.ts';

/**
 * What a publisher adds to its requests: an id of each channel through which the stream would go, the farthest first. A
 * channel that finds its own id there would wait for itself, and says so instead.
 */
const RELAY_HEADER = 'X-Holdfast-Via';

const ID = /^[0-9a-f]{16}$/;
/** A longer way is not told to the end: nobody relays so often on purpose. */
const MOST = 32;

/** Which channels of which publishers a channel is relayed to. */
export class Relay {
  readonly #channel: string;
  readonly #id = randomBytes(8).toString('hex');
  /** Of those who watch now, through what they do. */
  readonly #ways = new Map<ServerResponse, readonly string[]>();

  constructor(channel: string) {
    this.#channel = channel;
  }

  /** Remembers who asks, until its answer is over; what it is told if it would be given what it gives. */
  follow(response: ServerResponse): Failure | undefined {
    const way = idsIn(response.req.headers[RELAY_HEADER.toLowerCase()]);
    if (way.includes(this.#id)) return failureOf(new RelayLoopError(`channel ${this.#channel}`));
    if (way.length === 0) return undefined;
    this.#ways.set(response, way);
    response.once('close', () => this.#ways.delete(response));
    return undefined;
  }

  /** Of a request for its source. */
  get headers(): Readonly<Record<string, string>> {
    const ids = new Set([...[...this.#ways.values()].flat(), this.#id]);
    return { [RELAY_HEADER]: [...ids].slice(-MOST).join(', ') };
  }
}

function idsIn(header: string | readonly string[] | undefined): string[] {
  const ids = String(header ?? '').split(',');
  return ids
    .map((id) => id.trim())
    .filter((id) => ID.test(id))
    .slice(-MOST);
}
