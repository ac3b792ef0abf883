// crowd-server.ts <bytes a second>: a hub whose source is a child that writes at a pace. GET /state tells what it has and
// weighs, GET /weight the same after a garbage collection.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FanoutHub, ManagedChild } from 'holdfast';
import { CHUNK_BYTES, environment } from './crowd-source.ts';

const feed = new URL('crowd-feed.ts', import.meta.url).pathname;
const feedArguments = ['--import', './scripts/from-source.mjs', feed, String(process.argv[2])];
const hub = new FanoutHub({
  source: ({ signal }) => ManagedChild.spawn(process.execPath, feedArguments, { signal, env: environment, graceMs: 0 }),
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
