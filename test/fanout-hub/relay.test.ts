import { get } from 'node:http';
import type { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { FanoutHub } from '../../src/fanout-hub/fanout-hub.ts';
import type { FanoutSourceContext } from '../../src/fanout-hub/options.ts';
import { eventually } from '../support/eventually.ts';
import { numbered, RawClient, ScriptedSource, Sponge, serve, sha256, type TestServer } from './support.ts';

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

/** The body of an answer of another node. */
function bodyOf(port: number) {
  return ({ signal }: FanoutSourceContext): Promise<Readable> =>
    new Promise((resolve, reject) => {
      get({ host: '127.0.0.1', port, agent: false, signal }, resolve).on('error', reject);
    });
}

/** Three nodes, each of which reads the one before. */
async function chain() {
  const source = new ScriptedSource();
  const hubs: FanoutHub[] = [];
  const servers: TestServer[] = [];
  for (let node = 0; node < 3; node++) {
    const before = servers.at(-1)?.port;
    const from = before === undefined ? source.open : bodyOf(before);
    const hub = new FanoutHub({ source: from, align: 188, name: `node ${node}` });
    servers.push(await serve((_request, response) => void hub.pipe(response)));
    hubs.push(hub);
  }
  const end = async () => {
    for (const each of [...servers, ...hubs].reverse()) await each[Symbol.asyncDispose]();
  };
  return { source, hubs, ports: servers.map(({ port }) => port), [Symbol.asyncDispose]: end };
}

const states = (hubs: readonly FanoutHub[]) => hubs.map(({ state }) => state);

test('a chain of three loses nothing and ends cleanly when the first ends', async () => {
  await using here = await chain();
  const viewers = here.ports.flatMap((port) => [new RawClient(port, GET), new RawClient(port, GET)]);
  await eventually(() => expect(here.hubs.map(({ subscribers }) => subscribers)).toEqual([3, 3, 2]));
  const failures: unknown[] = [];
  for (const hub of here.hubs) hub.on('failure', (error) => failures.push(error));
  let length = 0;
  for (let n = 0; n < 400; n++) {
    const chunk = numbered(length, 1 + ((n * 7919) % 30_000));
    length += chunk.length;
    here.source.write(chunk);
    if (n % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  here.source.stream.end();
  await Promise.all(viewers.map(({ closed }) => closed));
  const whole = sha256(numbered(0, length));
  expect(viewers.map(({ body, outcome }) => [outcome, sha256(body)])).toEqual(viewers.map(() => ['end', whole]));
  await eventually(() => expect(states(here.hubs)).toEqual(['idle', 'idle', 'idle']));
  expect(here.source.openings).toBe(1);
  expect(failures).toEqual([]);
});

test('when the last viewer of the last node leaves, nothing is read any more at any', async () => {
  await using here = await chain();
  const viewer = new RawClient(here.ports[2] as number, GET);
  await eventually(() => {
    here.source.write('picture');
    expect(viewer.body.length).toBeGreaterThan(188);
  });
  expect(states(here.hubs)).toEqual(['live', 'live', 'live']);
  viewer.socket.destroy();
  await eventually(() => expect(states(here.hubs)).toEqual(['idle', 'idle', 'idle']));
  expect(here.source.signal?.aborted).toBe(true);
});

test('a node that goes away in the midst of an answer whose length is known is a failure', async () => {
  await using node = await serve((_request, response) => {
    response.writeHead(200, { 'content-length': 1_000_000 }).write('the begin');
    setTimeout(() => response.destroy(), 20);
  });
  await using hub = new FanoutHub({ source: bodyOf(node.port) });
  const { reason, error } = await hub.pipe(new Sponge()).ended;
  expect([reason, error]).toEqual(['source-failed', expect.objectContaining({ code: 'ECONNRESET' })]);
});
