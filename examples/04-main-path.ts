// The main path: a source under a lock, read by a child that holds it, handed to every viewer by HTTP.
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FanoutHub, ManagedChild, SourceLock } from 'holdfast';

const camera = 'rtsp://192.168.1.30/stream1';

const hub = new FanoutHub({
  name: 'camera',
  source: async ({ signal, use }) => {
    const lock = use(await SourceLock.acquire(camera, { signal }));
    // In earnest: ffmpeg -i <camera> -c copy -f mpegts pipe:1
    return ManagedChild.spawn('sh', ['-c', 'while :; do echo picture; sleep 0.01; done'], { signal, holds: lock });
  },
});

const server = createServer(async (_request, response) => {
  response.setHeader('Content-Type', 'video/mp2t');
  const { error } = await hub.pipe(response).ended;
  if (error && !response.headersSent) response.writeHead(503).end();
}).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const { port } = server.address() as AddressInfo;

/** Watches until the first picture has come. */
function view(): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port }, (response) => {
      response.once('data', (chunk: Buffer) => {
        resolve(`${response.statusCode} ${chunk.toString().split('\n')[0]}`);
        response.destroy();
      });
    }).once('error', reject);
  });
}

// prints: 200 picture, 200 picture
console.log((await Promise.all([view(), view()])).join(', '));

await hub.close();
// prints: holder after the last viewer: none
console.log(`holder after the last viewer: ${(await SourceLock.inspect(camera))?.pid ?? 'none'}`);
server.close();
