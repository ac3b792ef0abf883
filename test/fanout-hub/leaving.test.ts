import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { Subscription } from '../../src/fanout-hub/subscription.ts';
import { eventually } from '../support/eventually.ts';
import { Uncaught } from '../support/uncaught.ts';
import { Clogged, numbered, RawClient, ScriptedSource, Sponge, serve } from './support.ts';

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

describe('who leaves while the rest is flushed, the source having ended,', () => {
  const loop = (hub: FanoutHub, signal: AbortSignal) => hub.subscribe({ signal });
  const stuck = (hub: FanoutHub, signal: AbortSignal) => hub.pipe(new Clogged(), { signal });
  const dispose = (subscription: Subscription) => void subscription[Symbol.asyncDispose]();
  const abort = (_: Subscription, stop: AbortController) => stop.abort();

  test.each([
    ['of a loop, by disposing', loop, dispose],
    ['of a loop, by its signal', loop, abort],
    ['of a destination, by disposing', stuck, dispose],
    ['of a destination, by its signal', stuck, abort],
  ])('%s, does not wait for it', async (_, begin, leave) => {
    const source = new ScriptedSource();
    const stop = new AbortController();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0, maxLagMs: Infinity });
    const subscription = begin(hub, stop.signal);
    source.write('rest');
    await subscription.live;
    source.stream.end();
    await eventually(() => expect(hub.subscribers).toBe(0));
    leave(subscription, stop);
    expect(await subscription.ended).toEqual({ reason: 'source-ended', deliveredBytes: 0, skippedBytes: 0 });
    expect(hub.stats().lagged).toBe(0);
  });

  test('has ended its destination already: an error of that is thrown at nobody', async () => {
    using uncaught = new Uncaught();
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open, sliceMs: 0 });
    let fail: (error: Error) => void = () => {};
    const destination = new Sponge();
    destination._final = (done) => {
      fail = done;
    };
    const subscription = hub.pipe(destination);
    source.write('all');
    source.stream.end();
    await eventually(() => expect(destination.writableEnded).toBe(true));
    await subscription[Symbol.asyncDispose]();
    fail(new Error('broken disk'));
    await eventually(() => expect(destination.closed).toBe(true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(uncaught.errors).toEqual([]);
    expect(destination.eventNames()).toEqual(new Sponge().eventNames());
  });
});
