import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Readable } from 'node:stream';
import { FanoutHub } from 'holdfast';
import { expect, it, onTestFinished } from 'vitest';
import { endAfter } from '../../examples/publisher/device/streaming.ts';
import { eventually } from '../support/eventually.ts';

/** More than a kernel takes for who does not read. */
const TOO_MUCH = 32 * 1024 * 1024;

it('who takes nothing of a stream whose duration is over is let go, and its connection with it', async () => {
  const source = new Readable({ read: () => {} });
  await using hub = new FanoutHub({ source: () => source, maxLagBytes: 2 * TOO_MUCH });
  const server = createServer((_request, response) => {
    endAfter(hub.pipe(response), response, { durationMs: 100, restIdleMs: 100 });
    source.push(Buffer.alloc(TOO_MUCH));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
  onTestFinished(() => {
    client.destroy();
    server.close().closeAllConnections();
  });
  client.on('error', () => {});
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const [, response] = await once(server, 'request');
  await eventually(() => expect(response.writableEnded).toBe(true));
  await eventually(() => expect(response.closed).toBe(true));
  expect(response.writableFinished).toBe(false);
  expect(hub.subscribers).toBe(0);
});
