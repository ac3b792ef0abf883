import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import { eventually } from '../support/eventually.ts';
import { Uncaught } from '../support/uncaught.ts';
import { numbered, RawClient, ScriptedSource, Sponge, serve } from './support.ts';

describe('a destination that is destroyed with an error', () => {
  test.each([
    ['when the next slice comes in the same tick', (source: Readable) => void source.push('b'), 'left'],
    ['when the hub is closed in the same tick', (_source: Readable, hub: FanoutHub) => void hub.close(), 'closed'],
    ['by itself', () => {}, 'left'],
  ])('%s throws it at nobody', async (_, then, expected) => {
    using uncaught = new Uncaught();
    const source = new Readable({ read() {} });
    await using hub = new FanoutHub({ source: () => source, sliceMs: 0 });
    const sponge = new Sponge();
    const other = new Sponge();
    const { live, ended } = hub.pipe(sponge);
    hub.pipe(other);
    source.push('a');
    await live;
    sponge.destroy(new Error('broken disk'));
    then(source, hub);
    const { reason, error, deliveredBytes } = await ended;
    expect([reason, deliveredBytes]).toEqual([expected, 1]);
    if (reason === 'left') expect(error).toEqual(new Error('broken disk'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(uncaught.errors).toEqual([]);
    expect(sponge.eventNames()).toEqual(new Sponge().eventNames());
    await hub.close();
    expect(other.text).toMatch(/^ab?$/);
  });
});

test('what a destination refused to take is not counted as delivered', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open });
  const refusing = Object.assign(new Sponge(), {
    write(): never {
      throw new Error('broken write');
    },
  });
  const { ended } = hub.pipe(refusing);
  source.write('x'.repeat(100));
  expect(await ended).toMatchObject({ reason: 'left', deliveredBytes: 0, error: new Error('broken write') });
});

test('a response that its owner ends while it is full, and its client reads nothing, is left, not reset', async () => {
  const source = new ScriptedSource();
  await using hub = new FanoutHub({ source: source.open, maxLagBytes: 64 << 20 });
  const reasons: string[] = [];
  let end = () => {};
  await using server = await serve((_request, response) => {
    end = () => void response.end();
    hub.pipe(response).ended.then(({ reason }) => reasons.push(reason));
  });
  const client = new RawClient(server.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  client.socket.pause();
  await eventually(() => expect(hub.subscribers).toBe(1));
  source.write(numbered(0, 16 << 20));
  await eventually(() => expect(hub.stats().bytesOut).toBe(16 << 20));
  end();
  await eventually(() => {
    source.write('x');
    expect(hub.subscribers).toBe(0);
  });
  client.socket.resume();
  await client.closed;
  expect([reasons, client.outcome]).toEqual([['left'], 'end']);
});
