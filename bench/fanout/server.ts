// One way to hand a source to HTTP clients: server.ts <way> <port> <socket between two hubs> <command of the source>...
import { spawn } from 'node:child_process';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import type { FanoutHubOptions } from 'holdfast';

type Serve = (response: ServerResponse) => void;

const [way = '', port, socketPath, command = '', ...args] = process.argv.slice(2);

/** The source as one has it who does not use this package: it runs from the begin, and nobody is dropped. */
function source(): Readable {
  return spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] }).stdout;
}

/** By a hub, which another may have the source from. */
async function hub(options: Partial<FanoutHubOptions> = {}): Promise<Serve> {
  const { FanoutHub, ManagedChild } = await import('holdfast');
  const source = ({ signal }: { readonly signal: AbortSignal }) => ManagedChild.spawn(command, args, { signal });
  const hub = new FanoutHub({ source, align: 188, ...options });
  const serve: Serve = (response) => void hub.pipe(response);
  createServer((_request, response) => serve(response)).listen(socketPath);
  return serve;
}

const ways: Record<string, () => Serve | Promise<Serve>> = {
  hub: () => hub(),
  'hub-at-once': () => hub({ sliceMs: 0 }),
  async relay() {
    const { FanoutHub } = await import('holdfast');
    const source = ({ signal }: { readonly signal: AbortSignal }) =>
      new Promise<IncomingMessage>((resolve, reject) => get({ socketPath, signal }, resolve).once('error', reject));
    const hub = new FanoutHub({ source, align: 188 });
    return (response) => void hub.pipe(response);
  },
  pipe() {
    const stdout = source();
    return (response) => void stdout.pipe(response);
  },
  'pass-through'() {
    const stdout = source();
    return (response) => void stdout.pipe(new PassThrough()).pipe(response);
  },
  write() {
    const responses = new Set<ServerResponse>();
    source().on('data', (chunk) => {
      for (const response of responses) response.write(chunk);
    });
    return (response) => {
      responses.add(response);
      response.once('close', () => responses.delete(response));
    };
  },
};

const serve = await ways[way]?.();
if (!serve) throw new Error(`the way is one of ${Object.keys(ways).join(', ')}, received ${way}`);
const server = createServer((_request, response) => {
  response.setHeader('Content-Type', 'video/mp2t');
  serve(response);
});
// Two may share a port.
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4_096, reusePort: true }, () => console.log('ready'));
