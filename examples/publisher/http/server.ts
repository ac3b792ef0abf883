import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StartError } from '../errors.ts';

/** Where to listen. */
export interface Place {
  readonly bind: string;
  /** 0 takes any free one. */
  readonly port: number;
}

/** The HTTP server of the publisher. */
export class HttpServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #bind: string;

  /** @throws StartError that says what to do if the place can't be had. */
  static async listen(place: Place, listener: RequestListener): Promise<HttpServer> {
    // These bound how long a request may take to come in; a stream that goes out may last for days.
    const server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 5_000 }, listener);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', (error) => reject(listenError(error, place)));
    server.listen(place.port, place.bind, resolve);
    await promise;
    return new HttpServer(server, place.bind);
  }

  private constructor(server: Server, bind: string) {
    this.#server = server;
    this.#bind = bind;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** For people on this host. */
  get url(): string {
    const host = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[this.#bind] ?? this.#bind;
    return `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${this.port}/`;
  }

  /** Cuts what is still open: the streams have been ended by then. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
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
