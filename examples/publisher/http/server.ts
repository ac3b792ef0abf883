import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StartError } from '../errors.ts';
import type { Connections } from './connections.ts';
import { isLoopback } from './host-guard.ts';

/** Where to listen. */
export interface Place {
  readonly bind: string;
  /** 0 takes any free one. */
  readonly port: number;
}

/** These bound how long and how large a request may come in; a stream that goes out may last for days. */
const LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 5_000,
  // How often the times above are looked at.
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: 16_384,
  requireHostHeader: true,
} as const;

/** Who is served, and who is told that somebody could not be. */
export interface Desk {
  readonly connections: Connections;
  readonly listener: RequestListener;
  /** A connection could not be taken; the others stay. */
  readonly onError: (error: Error) => void;
}

/** The HTTP server of the publisher. */
export class HttpServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #bind: string;
  #stopped: Promise<void> | undefined;

  /** @throws StartError that says what to do if the place can't be had. */
  static async listen(place: Place, { connections, listener, onError }: Desk): Promise<HttpServer> {
    const server = createServer(LIMITS, listener);
    server.on('connection', (socket) => connections.admit(socket));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const refuse = (error: NodeJS.ErrnoException) => reject(listenError(error, place));
    server.once('error', refuse);
    server.listen(place.port, place.bind, resolve);
    await promise;
    server.off('error', refuse).on('error', onError);
    return new HttpServer(server, place.bind);
  }

  private constructor(server: Server, bind: string) {
    this.#server = server;
    this.#bind = bind;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Whether others than this host can reach it. */
  get isOpenToTheNetwork(): boolean {
    return !isLoopback(this.#bind);
  }

  /** For people on this host. */
  get url(): string {
    const host = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[this.#bind] ?? this.#bind;
    return `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${this.port}/`;
  }

  /** Nobody new comes in from now on; who is in is served until it is disposed. */
  stopAccepting(): void {
    this.#stopped ??= new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** Cuts what is still open: the streams have been ended by then. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stopAccepting();
    this.#server.closeAllConnections();
    await this.#stopped;
  }
}

const ADVICE: Record<string, (place: Place) => string> = {
  EADDRINUSE: ({ port }) =>
    `port ${port} is taken by another program (EADDRINUSE); stop it or choose another with --port`,
  EACCES: ({ port }) => `port ${port} may not be used by this user (EACCES); choose one above 1023 with --port`,
  EADDRNOTAVAIL: ({ bind }) => `${bind} is no address of this host (EADDRNOTAVAIL); see --bind`,
  ENOTFOUND: ({ bind }) => `${bind} is no address and no known name (ENOTFOUND); see --bind`,
};

export function listenError(error: NodeJS.ErrnoException, place: Place): StartError {
  const advice = ADVICE[error.code ?? '']?.(place) ?? `${error.message}; see --port and --bind`;
  return new StartError(`cannot listen on ${place.bind}: ${advice}`, { cause: error });
}
