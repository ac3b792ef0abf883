import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { misdirected } from '../../examples/publisher/http/host-guard.ts';
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
  publisher = await PublisherProcess.start(args, env);
  readOnly = await PublisherProcess.start(args);
  await publisher.says(/3 channels/);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await readOnly[Symbol.asyncDispose]();
  await simulator.close();
});

function post(path: string, token?: string, of: PublisherProcess = publisher): Promise<Answer> {
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  return ask(of.url + path, { method: 'POST', headers });
}

/** Bytes as they are, which no client would send. */
async function raw(text: string): Promise<string> {
  const socket = connect(Number(new URL(publisher.url).port), '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  socket.end(text);
  await once(socket, 'close');
  return answer;
}

describe('the operator', () => {
  it('restarts a channel: its viewers stay, its source is opened anew', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    const { status, json } = await post('/api/channels/5.1/restart', TOKEN);
    expect([status, json]).toEqual([202, { id: '5.1', action: 'restart' }]);
    await publisher.says(/channel 5\.1: restart by the operator[\s\S]*channel 5\.1: opening[\s\S]*channel 5\.1: live/);
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

  it('who guesses is told to wait, and so is who guesses right then', async () => {
    const answers = [];
    for (let count = 0; count < 6; count += 1)
      answers.push((await post('/api/channels/5.1/stop', `guess-${count}`)).status);
    expect(answers.at(-1)).toBe(429);
    const { status, headers } = await post('/api/channels/5.1/stop', TOKEN);
    expect([status, headers.get('retry-after')]).toEqual([429, '12']);
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
      { numRuns: 60 },
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
