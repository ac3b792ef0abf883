import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Failure } from '../failure.ts';
import { isRefused, type Viewers } from '../http/viewers.ts';

const SESSION_ID = /^[A-Za-z0-9_-]{16}$/;

export function newSessionId(): string {
  return randomBytes(12).toString('base64url');
}

export function isSessionId(text: string): boolean {
  return SESSION_ID.test(text);
}

interface Session {
  readonly channel: string;
  readonly place: Disposable;
  /** That are not answered yet: some wait for longer than a session is kept without any. */
  requests: number;
  timer: NodeJS.Timeout | undefined;
}

/** Of so many sessions that were ended on purpose it is known that they are not to go on. */
const MAX_ENDED = 1_000;

/**
 * Who watches HLS, which has no connection that tells: one who asks for playlists is a viewer until a while after the last
 * one. What is in an address tells them apart, or else where they ask from.
 */
export class Sessions implements Disposable {
  readonly #viewers: Viewers;
  readonly #idleMs: () => number;
  readonly #byId = new Map<string, Session>();
  readonly #ended = new Set<string>();

  constructor(viewers: Viewers, idleMs: () => number) {
    this.#viewers = viewers;
    this.#idleMs = idleMs;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Whether it was ended by somebody else: its player is not to come back by itself. */
  hasEnded(id: string): boolean {
    return this.#ended.has(id);
  }

  /** For one request: the session goes on, or begins; or why it may not. */
  enter(id: string, request: IncomingMessage, channel: string): Disposable | Failure {
    const known = this.#byId.get(id);
    if (known?.channel === channel) return this.#use(id, known);
    this.leave(id);
    const place = this.#viewers.admit(request, channel);
    if (isRefused(place)) return place;
    const session = { channel, place, requests: 0, timer: undefined };
    this.#byId.set(id, session);
    return this.#use(id, session);
  }

  #use(id: string, session: Session): Disposable {
    session.requests++;
    clearTimeout(session.timer);
    return {
      [Symbol.dispose]: () => {
        const isLast = --session.requests === 0 && this.#byId.get(id) === session;
        if (isLast) session.timer = setTimeout(() => this.leave(id), this.#idleMs());
      },
    };
  }

  leave(id: string): void {
    const session = this.#byId.get(id);
    if (!session) return;
    this.#byId.delete(id);
    clearTimeout(session.timer);
    session.place[Symbol.dispose]();
  }

  /** All of a channel, for good. */
  end(channel: string): void {
    for (const [id, session] of this.#byId) {
      if (session.channel !== channel) continue;
      this.leave(id);
      if (isSessionId(id)) this.#ended.add(id);
    }
    for (const id of this.#ended) {
      if (this.#ended.size <= MAX_ENDED) break;
      this.#ended.delete(id);
    }
  }

  [Symbol.dispose](): void {
    for (const id of this.#byId.keys()) this.leave(id);
  }
}
