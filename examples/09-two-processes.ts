// Where one core is not enough: two processes on one port. One reads the source, and the other has it from there.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FanoutHub, type FanoutSource, ManagedChild } from 'holdfast';

// The second process is given these, by the first.
const [feed, sharedPort] = process.argv.slice(2);

const read: FanoutSource = ({ signal }) =>
  ManagedChild.spawn('sh', ['-c', 'while :; do echo picture; sleep 0.01; done'], { signal, graceMs: 0 });
const relay: FanoutSource = ({ signal }) => answerOf({ socketPath: feed, signal });

const hub = new FanoutHub({ name: 'camera', source: feed ? relay : read });
const server = createServer((_request, response) => {
  response.setHeader('X-Process', feed ? 'second' : 'first');
  hub.pipe(response);
});
server.listen({ host: '127.0.0.1', port: Number(sharedPort ?? 0), reusePort: true });
await once(server, 'listening');
if (feed) console.log('ready');
else await withSecond((server.address() as AddressInfo).port);

async function withSecond(port: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'camera-'));
  const socketPath = join(folder, 'feed.sock');
  const feedServer = createServer((_request, response) => void hub.pipe(response)).listen(socketPath);
  await once(feedServer, 'listening');
  const args = [...process.execArgv, import.meta.filename, socketPath, String(port)];
  const ready = { when: 'stdout', timeoutMs: 20_000 } as const;
  const second = await ManagedChild.spawn(process.execPath, args, { ready });

  // The kernel deals the connections out.
  const viewers = await Promise.all(
    Array.from({ length: 40 }, () => answerOf({ host: '127.0.0.1', port, agent: false })),
  );
  await Promise.all(viewers.map((viewer) => once(viewer, 'data')));
  const served = new Set(viewers.map(({ headers }) => headers['x-process']));
  // prints: 40 viewers, served by first and second
  console.log(`${viewers.length} viewers, served by ${[...served].sort().join(' and ')}`);
  // prints: openings of the source: 1
  console.log(`openings of the source: ${hub.stats().openings}`);

  for (const viewer of viewers) viewer.destroy();
  await second[Symbol.asyncDispose]();
  await hub.close();
  for (const each of [server, feedServer]) each.close();
  rmSync(folder, { recursive: true });
}

function answerOf(options: object): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => get(options, resolve).once('error', reject));
}
