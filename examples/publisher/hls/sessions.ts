import { randomBytes } from 'node:crypto';
import type { Failure } from '../failure.ts';
import { isRefused, type Viewers } from '../http/viewers.ts';
import type { HlsStream } from './hls-stream.ts';

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
  watched: { readonly stream: HlsStream; readonly use: Disposable } | undefined;
}

/** A player that has the last playlist may wait for a target duration (RFC 8216, 6.3.4), and some wait for two. */
const IDLE_TARGETS = 3;
/** Of so many sessions that were ended on purpose it is known that they are not to go on. */
const MAX_ENDED = 1_000;

/**
 * Who watches HLS, which has no connection that tells: one who asks for a playlist or a segment is a viewer until a while
 * after, or until it says that it leaves. What is in an address tells them apart, or else where they ask from. A stream is
 * made for as long as a session watches it.
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

  /** Whether it was ended on purpose: its player is not to come back by itself. */
  hasEnded(id: string): boolean {
    return this.#ended.has(id);
  }

  /** For one request: the session goes on, or begins; or why it may not. */
  enter(id: string, client: string, channel: string): Disposable | Failure {
    const known = this.#byId.get(id);
    if (known?.channel === channel) return this.#use(id, known);
    this.#leave(id);
    const place = this.#viewers.admit(client, channel);
    if (isRefused(place)) return place;
    const session = { channel, place, requests: 0, timer: undefined, watched: undefined };
    this.#byId.set(id, session);
    return this.#use(id, session);
  }

  /** The stream goes on until the session is over, or turns to another. */
  watch(id: string, stream: HlsStream): void {
    const session = this.#byId.get(id);
    if (!session || session.watched?.stream === stream) return;
    const former = session.watched;
    session.watched = { stream, use: stream.use() };
    former?.use[Symbol.dispose]();
  }

  /** For good: what its player still asks for is refused. */
  end(id: string): void {
    if (!this.#byId.has(id)) return;
    this.#leave(id);
    if (!isSessionId(id)) return;
    this.#ended.add(id);
    const [oldest] = this.#ended;
    if (oldest !== undefined && this.#ended.size > MAX_ENDED) this.#ended.delete(oldest);
  }

  /** All of a channel, for good. */
  endAll(channel: string): void {
    for (const [id, session] of this.#byId) if (session.channel === channel) this.end(id);
  }

  [Symbol.dispose](): void {
    for (const id of this.#byId.keys()) this.#leave(id);
  }

  #use(id: string, session: Session): Disposable {
    session.requests++;
    clearTimeout(session.timer);
    return {
      [Symbol.dispose]: () => {
        if (--session.requests > 0 || this.#byId.get(id) !== session) return;
        // Who was given nothing does not know of it.
        if (!session.watched) this.#leave(id);
        else session.timer = setTimeout(() => this.#leave(id), this.#idleMsOf(session.watched.stream));
      },
    };
  }

  /** Its place is free, and its stream ends if nobody else watches it. */
  #leave(id: string): void {
    const session = this.#byId.get(id);
    if (!session) return;
    this.#byId.delete(id);
    clearTimeout(session.timer);
    session.place[Symbol.dispose]();
    session.watched?.use[Symbol.dispose]();
  }

  #idleMsOf({ targetSeconds }: HlsStream): number {
    return Math.max(this.#idleMs(), IDLE_TARGETS * 1_000 * targetSeconds);
  }
}
