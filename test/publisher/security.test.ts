import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { misdirected } from '../../examples/publisher/http/host-guard.ts';
import { TokenGate } from '../../examples/publisher/http/token-gate.ts';
import { TrustedProxies } from '../../examples/publisher/http/trusted-proxies.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Answer, ask, PublisherProcess, Viewer } from './support.ts';

const TOKEN = 'the-token-of-the-operator';
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;
let readOnly: PublisherProcess;
const lockDir = temporaryDirectory(afterAll);

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start();
  const args = ['--device', simulator.url, '--lock-dir', lockDir];
  const env = { HOLDFAST_PUBLISHER_OPERATOR_TOKEN: TOKEN };
  publisher = await PublisherProcess.start([...args, '--trust-proxy', '127.0.0.1'], env);
  readOnly = await PublisherProcess.start(args);
  await publisher.says(/3 channels/);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await readOnly[Symbol.asyncDispose]();
  await simulator.close();
});

/** @param by whom a proxy of this host says that it comes from */
function post(path: string, token?: string, of: PublisherProcess = publisher, by?: string): Promise<Answer> {
  const headers = {
    ...(token !== undefined && { Authorization: `Bearer ${token}` }),
    ...(by !== undefined && { 'X-Forwarded-For': by }),
  };
  return ask(of.url + path, { method: 'POST', headers });
}

/** Bytes as they are, which no client would send; of a stream, which has no end, its begin is the answer. */
async function raw(text: string): Promise<string> {
  const socket = connect(Number(new URL(publisher.url).port), '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
    if (/^Content-Type: video\//im.test(answer)) socket.destroy();
  });
  socket.on('error', () => {});
  socket.write(text);
  await once(socket, 'close');
  return answer;
}

describe('the operator', () => {
  it('restarts a channel: its viewers stay, its source is opened anew', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    const { status, json } = await post('/api/channels/5.1/restart', TOKEN);
    expect([status, json]).toEqual([202, { id: '5.1', action: 'restart' }]);
    await publisher.says(
      /channel 5\.1: restart by the operator, from 127\.0\.0\.1\n[\s\S]*channel 5\.1: opening[\s\S]*channel 5\.1: live/,
    );
    expect(viewer.isGone).toBe(false);
    await viewer.more();
  });

  it('stops a channel: its viewers and its source end, and who comes then is served', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/7.1.ts`);
    await viewer.more();
    expect((await post('/api/channels/7.1/stop', TOKEN)).status).toBe(202);
    await eventually(() => expect(viewer.isGone).toBe(true));
    await eventually(() => expect(simulator.streams()).toBe(0));
    using other = await Viewer.open(`${publisher.url}/channels/7.1.ts`);
    await other.more();
  });

  it.each(['restart', 'stop'])('needs the token to %s, and a channel that there is', async (action) => {
    const path = `/api/channels/5.1/${action}`;
    const without = await post(path);
    expect([without.status, without.headers.get('www-authenticate')]).toEqual([
      401,
      'Bearer realm="holdfast-publisher"',
    ]);
    const wrong = await post(path, `${TOKEN}x`);
    expect([wrong.status, wrong.headers.get('www-authenticate')]).toEqual([
      401,
      'Bearer realm="holdfast-publisher", error="invalid_token"',
    ]);
    expect(wrong.text).not.toContain(TOKEN);
    expect((await post(`/api/channels/nope/${action}`, TOKEN)).status).toBe(404);
    const refused = await post(path, TOKEN, readOnly);
    expect([refused.status, refused.json.title]).toEqual([403, 'This publisher is read-only']);
    expect(refused.json.detail).toContain('see --operator-token');
    const get = await ask(publisher.url + path);
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST']);
  });

  it('who guesses is told to wait, and so is who guesses right then; each guess is logged', async () => {
    const guess = (token: string) => post('/api/channels/5.1/stop', token);
    // Whatever was tried before: what is sent again is no guess.
    await eventually(async () => expect((await guess(crypto.randomUUID())).status).toBe(429));
    const { status, headers } = await guess(TOKEN);
    expect([status, headers.get('retry-after')]).toEqual([429, '12']);
    expect(publisher.output).toContain('WARN 127.0.0.1 sent a token that is not that of --operator-token');
    const other = await post('/api/channels/5.1/stop', TOKEN, publisher, '127.0.0.2');
    expect(other.status).toBe(202);
  });
});

describe('a token that was wrong before', () => {
  const gate = () => {
    const wrong: string[] = [];
    let token = TOKEN;
    const made = new TokenGate(
      '--operator-token',
      () => token,
      (who) => wrong.push(who),
    );
    const send = (given: string, client = '10.0.0.1') => {
      const request = { headers: { authorization: `Bearer ${given}` } } as IncomingMessage;
      return made.refusal({ request, client })?.status ?? 202;
    };
    const change = (next: string) => {
      token = next;
    };
    return { send, change, wrong };
  };

  it('is no guess when it comes again: a script with an old token keeps nobody out', () => {
    const { send, wrong } = gate();
    expect(Array.from({ length: 50 }, () => send('the-token-of-last-year'))).toEqual(Array(50).fill(401));
    expect([send(TOKEN), wrong.length]).toEqual([202, 1]);
    expect(['a', 'b', 'c', 'd', 'e'].map((guess) => send(guess))).toEqual([401, 401, 401, 401, 429]);
    expect([send('a'), send(TOKEN), send(TOKEN, '10.0.0.2')]).toEqual([401, 429, 202]);
  });

  it('is right as soon as it is the one that is configured', () => {
    const { send, change } = gate();
    expect(send('the-token-of-next-year')).toBe(401);
    change('the-token-of-next-year');
    expect([send('the-token-of-next-year'), send(TOKEN)]).toEqual([202, 401]);
  });
});

describe('a reverse proxy that is trusted', () => {
  it.each<[string, string, string[], string]>([
    ['10.0.0.1', '203.0.113.7', [], '10.0.0.1'],
    ['10.0.0.1', '203.0.113.7', ['10.0.0.1'], '203.0.113.7'],
    ['::ffff:10.0.0.1', '203.0.113.7:4711', ['10.0.0.0/8'], '203.0.113.7'],
    ['10.0.0.2', '203.0.113.7', ['10.0.0.1'], '10.0.0.2'],
    ['10.0.0.1', '6.6.6.6, 203.0.113.7', ['10.0.0.1'], '203.0.113.7'],
    ['10.0.0.1', '6.6.6.6, 203.0.113.7, 10.0.0.9', ['10.0.0.0/8'], '203.0.113.7'],
    ['2001:db8::1', '[2001:db8:7::1]:443', ['2001:db8::/48'], '2001:db8:7::1'],
    ['10.0.0.1', 'unknown', ['10.0.0.1'], '10.0.0.1'],
    ['10.0.0.1', '', ['10.0.0.1'], '10.0.0.1'],
  ])('of %s says who asks (%j, trusted %j): %s', (remoteAddress, forwarded, trusted, client) => {
    const request = { socket: { remoteAddress }, headers: { 'x-forwarded-for': forwarded } };
    expect(new TrustedProxies(() => trusted).clientOf(request as unknown as IncomingMessage)).toBe(client);
  });
});

describe('a request', () => {
  it.each([
    ['127.0.0.1', 'evil.example', true],
    ['127.0.0.1', 'evil.example:8080', true],
    ['::1', 'evil.example', true],
    ['127.0.0.1', 'localhost:8080', false],
    ['127.0.0.1', 'tv.localhost', false],
    ['127.0.0.1', '127.0.0.1:8080', false],
    ['127.0.0.1', '[::1]:8080', false],
    ['127.0.0.1', 'TV.example.', false],
    ['0.0.0.0', 'evil.example', false],
  ])('to a publisher on %s for %s is misdirected: %s', (bind, host, is) => {
    const names = { bind, advertise: 'https://tv.example/' };
    expect(misdirected(names, host, '/api/channels') !== undefined).toBe(is);
    expect(misdirected(names, host, '/readyz')).toBeUndefined();
  });

  it('for a name that was made to lead here is refused, and told what to do behind a proxy', async () => {
    const request = httpRequest(`${publisher.url}/api/channels`, { headers: { Host: 'evil.example' } }).end();
    const [response] = await once(request, 'response');
    let text = '';
    for await (const chunk of response) text += chunk;
    expect([response.statusCode, text]).toEqual([421, expect.stringContaining('--advertise http://evil.example/')]);
  });

  it('for any path finds only what is served there', async () => {
    const piece = fc.constantFrom(
      '..',
      '.',
      '%2e%2e',
      '%2f',
      '\\',
      '%5c',
      '%00',
      'etc',
      'passwd',
      'channels',
      'api',
      '5.1.ts',
      '/',
      'é',
      '%zz',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const answer = await raw(
          `GET /${Buffer.from(pieces.join('/'), 'utf8').toString('latin1')} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
        );
        expect(answer).toMatch(/^HTTP\/1\.1 (200|400|404|405) /);
        expect(answer).not.toMatch(/root:|\n\s+at |Internal error/);
      }),
      { numRuns: 60, examples: [[['channels', '5.1.ts']]] },
    );
    expect((await ask(`${publisher.url}/healthz`)).status).toBe(200);
  });

  it.each([
    ['whose head is too large', `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['that is no HTTP', 'hello\r\n\r\n', 400],
    ['without a host', 'GET / HTTP/1.1\r\n\r\n', 400],
    [
      'of two lengths',
      'POST /api/channels/5.1/stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx',
      400,
    ],
  ])('%s is refused', async (_, text, status) => {
    expect(await raw(text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  it('that comes in too slowly is given up', { timeout: patienceMs(30_000) }, async () => {
    const socket = connect(Number(new URL(publisher.url).port), '127.0.0.1');
    socket.on('error', () => {}).resume();
    socket.write('GET / HTTP/1.1\r\n');
    const dripping = setInterval(() => socket.write('X: y\r\n'), 500);
    const begun = performance.now();
    await once(socket, 'close');
    clearInterval(dripping);
    expect(performance.now() - begun).toBeLessThan(patienceMs(15_000));
  });
});
