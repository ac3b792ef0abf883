// Streams as others make them.
import { get } from 'node:http';
import { createRequire } from 'node:module';

import { PassThrough, Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import { eventually } from '../support/eventually.ts';
import { Sponge, serve } from './support.ts';

const require = createRequire(import.meta.url);

/** Each with the bytes `abc`; it does not end by itself. */
const silentOnes: [string, () => Readable][] = [
  ['that is made with emitClose: false', () => withBytes(new Readable({ emitClose: false, read() {} }))],
  ['of readable-stream 2', () => withBytes(new (require('readable-stream-2').Readable)({ read() {} }))],
  ['of readable-stream 3', () => withBytes(new (require('readable-stream-3').Readable)({ read() {} }))],
];

function withBytes(stream: Readable): Readable {
  stream.push('abc');
  return stream;
}

const ends: [string, (stream: Readable) => void][] = [
  ['that ends', (stream) => void stream.push(null)],
  ['that fails', (stream) => void stream.destroy(new Error('gone'))],
  ['that goes on', () => {}],
];

describe.each(silentOnes)('a stream %s', (_, make) => {
  test.each(ends)('%s is closed with its hub', async (_, end) => {
    const stream = make();
    const hub = new FanoutHub({ source: () => stream, sliceMs: 0 });
    const sponge = new Sponge();
    sponge.on('error', () => {});
    hub.pipe(sponge);
    await eventually(() => expect(sponge.text).toBe('abc'));
    end(stream);
    await hub.close();
    expect(hub.state).toBe('closed');
    expect(stream.destroyed).toBe(true);
  });

  test('that has ended makes room for the next', async () => {
    const streams = [make(), make()];
    const left = [...streams];
    await using hub = new FanoutHub({ source: () => left.shift() as Readable, sliceMs: 0 });
    for (const stream of streams) {
      const sponge = new Sponge();
      const { ended } = hub.pipe(sponge);
      await eventually(() => expect(sponge.text).toBe('abc'));
      stream.push(null);
      expect((await ended).reason).toBe('source-ended');
    }
  });
});

test('a stream that is paused when it comes is read', async () => {
  const stream = new PassThrough();
  stream.pause();
  stream.write('hello');
  await using hub = new FanoutHub({ source: () => stream, startTimeoutMs: 5_000 });
  const sponge = new Sponge();
  await hub.pipe(sponge).live;
  expect(sponge.text).toBe('hello');
});

test('an answer that was paused, to look at its head, is read', async () => {
  await using server = await serve((_request, response) => void response.end('hello'));
  await using hub = new FanoutHub({
    source: ({ signal }) =>
      new Promise((resolve, reject) =>
        get({ port: server.port, host: '127.0.0.1', signal }, (answer) => resolve(answer.pause())).once(
          'error',
          reject,
        ),
      ),
  });
  const sponge = new Sponge();
  const { ended } = hub.pipe(sponge);
  expect((await ended).reason).toBe('source-ended');
  expect(sponge.text).toBe('hello');
});
