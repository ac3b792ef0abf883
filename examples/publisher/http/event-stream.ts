import type { ServerResponse } from 'node:http';

/** What a client may leave unread: a whole snapshot of a large publisher and more, and no memory that grows. */
const MAX_UNREAD_BYTES = 4 * 1_048_576;
/** When a client whose connection broke comes again, unless it decides that by itself. */
const RETRY_MS = 2_000;

export interface ServerSentEvent {
  readonly event: string;
  readonly data: unknown;
  /** What the client says next time to go on from here. */
  readonly id?: string | undefined;
}

/** An answer of server-sent events (text/event-stream) that is cut when its reader is too slow. */
export class EventStream implements Disposable {
  readonly #response: ServerResponse;
  readonly #maxUnreadBytes: number;

  constructor(response: ServerResponse, maxUnreadBytes: number = MAX_UNREAD_BYTES) {
    this.#response = response;
    this.#maxUnreadBytes = maxUnreadBytes;
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      // Else nginx keeps what comes until it has a buffer full.
      'X-Accel-Buffering': 'no',
    });
    this.write(`retry: ${RETRY_MS}\n\n`);
  }

  get isOpen(): boolean {
    return !this.#response.destroyed && !this.#response.writableEnded;
  }

  /** Text that `format` made; whoever has not read what came before loses its connection. */
  write(text: string): void {
    if (!this.isOpen) return;
    if (this.#response.writableLength > this.#maxUnreadBytes) this.#cut();
    else this.#response.write(text);
  }

  /** Ends it in order. */
  [Symbol.dispose](): void {
    if (this.isOpen) this.#response.end();
  }

  /** With a reset, else the kernel keeps what was written for as long as it hopes. */
  #cut(): void {
    const { socket } = this.#response;
    socket?.resetAndDestroy();
    this.#response.destroy();
  }
}

/** JSON has no line break, so one line of data is all of it. */
export function format({ event, data, id }: ServerSentEvent): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Keeps proxies from taking a quiet connection for a dead one, and tells a page the same, which never sees a comment. */
export const HEARTBEAT: string = format({ event: 'heartbeat', data: null });
