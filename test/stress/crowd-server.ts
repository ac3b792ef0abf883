// crowd-server.ts <bytes a second>: a hub whose source runs at a pace. GET /state tells what it has and weighs, GET /weight
// the same after a garbage collection.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { FanoutHub } from 'holdfast';
import { CHUNK_BYTES, chunkAt, hostMs } from './crowd-source.ts';

const bytesPerSecond = Number(process.argv[2]);

async function* paced(signal: AbortSignal): AsyncGenerator<Buffer> {
  const begunMs = hostMs();
  for (let at = 0; !signal.aborted; at += CHUNK_BYTES) {
    const dueMs = begunMs + (at / bytesPerSecond) * 1_000;
    while (hostMs() < dueMs) await sleep(1);
    yield chunkAt(at, dueMs);
  }
}

const hub = new FanoutHub({
  source: ({ signal }) => Readable.from(paced(signal), { objectMode: false }),
  ...{ align: CHUNK_BYTES, maxLagBytes: 1024 * 1024, maxLagMs: 60_000 },
});
const server = createServer((request, response) => {
  if (request.url === '/') hub.pipe(response);
  else {
    if (request.url === '/weight') gc?.();
    response.end(JSON.stringify({ ...hub.stats(), rss: process.memoryUsage.rss() }));
  }
}).listen({ port: 0, host: '127.0.0.1', backlog: 1_024 });
server.once('listening', () => console.log((server.address() as AddressInfo).port));
