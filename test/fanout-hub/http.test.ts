import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { Subscription, SubscriptionEnd } from '../../src/fanout-hub/subscription.ts';
import { eventually } from '../support/eventually.ts';
import { numbered, RawClient, readableOf, ScriptedSource, Sponge, serve } from './support.ts';

const get = (version: string, headers = '') => `GET / HTTP/${version}\r\nHost: x\r\n${headers}\r\n`;

describe('a response', () => {
  test.each([
    ['1.1', ''],
    ['1.1', 'Connection: keep-alive\r\n'],
    ['1.0', ''],
    ['1.0', 'Connection: keep-alive\r\n'],
  ])('to HTTP/%s %s has a body without chunking that ends with its connection', async (version, headers) => {
    await using hub = new FanoutHub({ source: () => readableOf('picture ', 'and sound') });
    await using server = await serve((_request, response) => {
      response.setHeader('Content-Type', 'video/mp2t');
      hub.pipe(response);
    });
    const client = new RawClient(server.port, get(version, headers));
    await client.closed;
    expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\nContent-Type: video\/mp2t\r\n/);
    expect(client.head).toMatch(/^connection: close$/im);
    expect(client.head).not.toMatch(/transfer-encoding|keep-alive|content-length/i);
    expect(client.body.toString()).toBe('picture and sound');
    expect(client.outcome).toBe('end');
  });

  test('whose head was sent already gets the bytes in the framing that the head promised', async () => {
    await using hub = new FanoutHub({ source: () => readableOf('bytes') });
    await using server = await serve((_request, response) => void hub.pipe(response.writeHead(206)));
    const response = await fetch(`http://127.0.0.1:${server.port}`);
    expect([response.status, response.headers.get('transfer-encoding')]).toEqual([206, 'chunked']);
    expect(await response.text()).toBe('bytes');
  });

  test('is untouched when the source fails before its first byte, so that it can be a 503', async () => {
    const failure = new Error('no tuner');
    await using hub = new FanoutHub({ source: () => Promise.reject(failure) });
    let headersSent: boolean | undefined;
    await using server = await serve(async (_request, response) => {
      response.setHeader('Content-Type', 'video/mp2t');
      const { error } = await hub.pipe(response).ended;
      ({ headersSent } = response);
      if (error) response.writeHead(503, { 'Retry-After': '5' }).end(String(error));
    });
    const response = await fetch(`http://127.0.0.1:${server.port}`);
    expect(headersSent).toBe(false);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await response.text()).toBe('Error: no tuner');
  });

  test.each([
    ['before the first byte', false],
    ['while it is written to', true],
  ])('that waits behind another is left when their connection dies, %s', async (_, isLive) => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const first: ServerResponse[] = [];
    const ends: Promise<SubscriptionEnd>[] = [];
    await using server = await serve((_request, response) => {
      if (first.length === 0) first.push(response);
      else ends.push(hub.pipe(response).ended);
    });
    const client = new RawClient(server.port, get('1.1').repeat(20));
    await eventually(() => expect(hub.subscribers).toBe(19));
    if (isLive) source.write('x');
    if (isLive) await eventually(() => expect(hub.state).toBe('live'));
    client.socket.resetAndDestroy();
    for (const { reason } of await Promise.all(ends)) expect(reason).toBe('left');
    expect(hub.subscribers).toBe(0);
    expect(first[0]?.headersSent).toBe(false);
  });

  test('nothing is sent before the first byte of the source', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    await using server = await serve((_request, response) => void hub.pipe(response));
    const client = new RawClient(server.port, get('1.1'));
    await eventually(() => expect(hub.subscribers).toBe(1));
    const second = new RawClient(server.port, get('1.1'));
    await eventually(() => expect(hub.subscribers).toBe(2));
    expect([client.bytes.length, second.bytes.length]).toEqual([0, 0]);
    source.write('x');
    await eventually(() => expect(client.body.toString()).toBe('x'));
  });

  test('to HEAD ends at once with its headers and opens no source', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    let subscription: Subscription | undefined;
    await using server = await serve((_request, response) => {
      response.setHeader('Content-Type', 'video/mp2t');
      subscription = hub.pipe(response);
    });
    const response = await fetch(`http://127.0.0.1:${server.port}`, { method: 'HEAD' });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'video/mp2t']);
    expect(await subscription?.ended).toEqual({ reason: 'left', deliveredBytes: 0, skippedBytes: 0 });
    expect([source.openings, hub.state]).toEqual([0, 'idle']);
  });

  test.each([204, 304])('of status %i ends at once and opens no source', async (status) => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    let subscription: Subscription | undefined;
    await using server = await serve((_request, response) => {
      response.statusCode = status;
      subscription = hub.pipe(response);
    });
    const response = await fetch(`http://127.0.0.1:${server.port}`);
    expect(response.status).toBe(status);
    expect(await subscription?.ended).toEqual({ reason: 'left', deliveredBytes: 0, skippedBytes: 0 });
    expect([source.openings, hub.state]).toEqual([0, 'idle']);
  });

  test.each(['opening', 'live'])('whose client goes away while the hub is %s leaves it', async (state) => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const subscriptions: Subscription[] = [];
    await using server = await serve((_request, response) => void subscriptions.push(hub.pipe(response)));
    const client = new RawClient(server.port, get('1.1'));
    await eventually(() => expect(hub.state).toBe('opening'));
    if (state === 'live') source.write('x');
    await eventually(() => expect(hub.state).toBe(state));
    client.socket.destroy();
    await eventually(() => expect(hub).toMatchObject({ state: 'idle', subscribers: 0 }));
    expect((await subscriptions[0]?.ended)?.reason).toBe('left');
    expect(source.signal?.aborted).toBe(true);
  });

  test('ends with its connection when a live source fails, and the server does not blame its client', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    await using server = await serve((_request, response) => void hub.pipe(response));
    const blamed: unknown[] = [];
    server.server.on('clientError', (error) => blamed.push(error));
    const client = new RawClient(server.port, get('1.1'));
    await eventually(() => expect(hub.subscribers).toBe(1));
    source.write('x');
    await eventually(() => expect(client.body.toString()).toBe('x'));
    source.stream.destroy(new Error('gone'));
    await client.closed;
    expect(client.outcome).toBe('end');
    expect(blamed).toEqual([]);
  });

  test('behind another on the same connection waits for its turn', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    let endFirst = () => {};
    await using server = await serve((request, response) => {
      if (request.url === '/first') endFirst = () => void response.end('first');
      else hub.pipe(response);
    });
    const client = new RawClient(server.port, `GET /first HTTP/1.1\r\nHost: x\r\n\r\n${get('1.1')}`);
    await eventually(() => expect(hub.subscribers).toBe(1));
    source.write('second');
    await eventually(() => expect(hub.state).toBe('live'));
    endFirst();
    source.stream.end();
    await client.closed;
    expect(client.bytes.toString()).toMatch(/first.*connection: close.*\r\n\r\nsecond$/s);
  });

  test('of HTTP/2 works as well, also to HEAD and when the client cancels', async () => {
    const source = new ScriptedSource();
    await using hub = new FanoutHub({ source: source.open });
    const ends: unknown[] = [];
    const server = createHttp2Server((_request, response) => {
      hub.pipe(response).ended.then(({ reason }) => ends.push(reason));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const request = (method: string) => session.request({ ':path': '/', ':method': method }).setEncoding('utf8');
    const head = request('HEAD').resume();
    await once(head, 'end');
    expect(source.openings).toBe(0);
    const [whole, cancelled] = [request('GET'), request('GET')];
    await eventually(() => expect(hub.subscribers).toBe(2));
    source.write('hello');
    expect(await once(whole, 'data')).toEqual(['hello']);
    cancelled.close();
    await eventually(() => expect(hub.subscribers).toBe(1));
    source.stream.end();
    await once(whole.resume(), 'end');
    await eventually(() => expect(ends).toEqual(['left', 'left', 'source-ended']));
    session.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
});

test('of a body with chunking much that waits at once comes whole, also if the source ends then', async () => {
  const source = new ScriptedSource();
  const bytes = numbered(0, 360_000);
  await using hub = new FanoutHub({ source: source.open, sliceMs: 0, prerollBytes: 400_000 });
  hub.pipe(new Sponge());
  for (let at = 0; at < bytes.length; at += 9_000) {
    source.write(bytes.subarray(at, at + 9_000));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await using server = await serve((_request, response) => {
    response.writeHead(200);
    hub.pipe(response);
  });
  const url = `http://127.0.0.1:${server.port}`;
  const response = await fetch(url);
  const reader = response.body?.getReader();
  let length = 0;
  while (length < bytes.length) length += (await reader?.read())?.value?.length ?? Number.NaN;
  expect(length).toBe(bytes.length);
  await reader?.cancel();
  await eventually(() => expect(hub.subscribers).toBe(1));
  const last = fetch(url).then((response) => response.arrayBuffer());
  await eventually(() => expect(hub.subscribers).toBe(2));
  source.stream.end();
  expect(Buffer.from(await last).equals(bytes)).toBe(true);
});

test('an answer to HEAD that can not be sent is told, not thrown', async () => {
  await using hub = new FanoutHub({ source: () => new PassThrough() });
  let end: SubscriptionEnd | undefined;
  await using server = await serve(async (_request, response) => {
    response.statusCode = 99_999;
    end = await hub.pipe(response).ended;
    response.destroy();
  });
  await expect(fetch(`http://127.0.0.1:${server.port}`, { method: 'HEAD' })).rejects.toThrow();
  expect(end).toMatchObject({
    reason: 'left',
    error: expect.objectContaining({ code: 'ERR_HTTP_INVALID_STATUS_CODE' }),
  });
});

test('a response that is kept alive by a failing source serves the next request', async () => {
  let attempts = 0;
  await using hub = new FanoutHub({
    source: () => (++attempts === 1 ? Promise.reject(new Error('busy')) : readableOf('now')),
  });
  await using server = await serve(async (_request, response) => {
    const { error } = await hub.pipe(response).ended;
    if (error && !response.headersSent) response.writeHead(503).end();
  });
  const client = new RawClient(server.port, get('1.1'));
  await eventually(() => expect(client.head).toMatch(/503/));
  await eventually(() => expect(hub.state).toBe('idle'));
  client.socket.write(get('1.1'));
  await client.closed;
  expect(client.bytes.toString()).toMatch(/^HTTP\/1\.1 503 .*HTTP\/1\.1 200 OK.*\r\n\r\nnow$/s);
});

test('an HTTP response can be the source of the next hub, three in a row', async () => {
  const source = new ScriptedSource();
  await using first = new FanoutHub({ source: source.open });
  await using firstServer = await serve((_request, response) => void first.pipe(response));
  const relay = (port: number) =>
    new FanoutHub({
      source: async ({ signal }) => {
        const { get } = await import('node:http');
        const [response] = await once(get({ port, host: '127.0.0.1', signal }), 'response', { signal });
        return response;
      },
    });
  await using second = relay(firstServer.port);
  await using secondServer = await serve((_request, response) => void second.pipe(response));
  await using third = relay(secondServer.port);
  const sink = new PassThrough();
  const { live, ended } = third.pipe(sink);
  await eventually(() => expect(source.openings).toBe(1));
  source.write('through three ');
  await live;
  source.stream.end('hubs');
  expect(await ended).toMatchObject({ reason: 'source-ended', deliveredBytes: 18 });
  expect(sink.read(sink.readableLength).toString()).toBe('through three hubs');
});
