import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Answer, ask, PublisherProcess } from './support.ts';

const TOKEN = 'a-token-of-sixteen';
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;
const lockDir = temporaryDirectory(afterAll);

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start();
  publisher = await PublisherProcess.start([
    ...['--discovery', 'off', '--lock-dir', lockDir, '--publish-token', TOKEN],
    ...['--device', simulator.url, '--source', 'own=http://127.0.0.1:9/own', '--channel', '9.1={"enabled":false}'],
  ]);
  await publisher.says(/: 2 channels: 5\.1 /);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

const GOOD = { name: 'Far Away', number: '77.1', url: 'http://127.0.0.1:9/far.ts', ttlSeconds: 60 };

function put(id: string, body: unknown, token: string | undefined = TOKEN): Promise<Answer> {
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return ask(`${publisher.url}/api/public-streams/${id}`, { method: 'PUT', headers, body: text });
}

function remove(id: string): Promise<Answer> {
  const headers = { Authorization: `Bearer ${TOKEN}` };
  return ask(`${publisher.url}/api/public-streams/${id}`, { method: 'DELETE', headers });
}

/** What is answered to who announces from an address of this host that no other test has. */
async function statusFromElsewhere(id: string, token: string): Promise<number | undefined> {
  const options = { method: 'PUT', localAddress: '127.0.0.9', headers: { Authorization: `Bearer ${token}` } };
  const asked = request(`${publisher.url}/api/public-streams/${id}`, { ...options, agent: false });
  asked.end(JSON.stringify(GOOD));
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

const ids = async () => (await publisher.json('/api/public-streams')).streams.map(({ id }: { id: string }) => id);

describe('a channel that another publisher announces', () => {
  it('is listed with its ttl, renewed under the same id, and deleted', async () => {
    expect(await put('far', GOOD)).toMatchObject({ status: 201, json: { id: 'far', ttlSeconds: 60 } });
    const { streams } = await publisher.json('/api/public-streams');
    const listed = streams.find(({ id }: { id: string }) => id === 'far');
    expect(listed).toMatchObject({ name: 'Far Away', number: '77.1', available: true, stale: false });
    expect(Date.parse(listed.expiresAt) - Date.parse(listed.updatedAt)).toBe(60_000);
    expect((await put('far', { ...GOOD, name: 'Farther' })).status).toBe(200);
    expect(await publisher.channel('far')).toMatchObject({ name: 'Farther' });
    expect((await remove('far')).status).toBe(204);
    expect(await ids()).toEqual(['own', '5.1', '7.1']);
    expect(await remove('far')).toMatchObject({ status: 404, json: { title: 'Not announced' } });
  });

  it('is gone when its ttl is over, alone', async () => {
    await put('short', { ...GOOD, number: null, ttlSeconds: 5 });
    await put('long', GOOD);
    expect(await ids()).toEqual(['own', '5.1', '7.1', 'short', 'long']);
    await eventually(async () => expect(await ids()).toEqual(['own', '5.1', '7.1', 'long']), promisedMs(10_000));
    await remove('long');
  });

  it.each<[what: string, id: string, more: { number?: string; url?: string }, why: RegExp]>([
    ['a configured source', 'own', {}, /own is a channel of this publisher that is configured/],
    ['a channel of a lineup', '5.1', {}, /5\.1 .* in the lineup of a device/],
    ['one that is disabled', '9.1', {}, /9\.1 .* in the lineup of a device/],
    ['the number of another', 'far', { number: '7.1' }, /7\.1 .* in the lineup of a device/],
    ['a channel of this publisher itself', 'far', { url: '127.0.0.1' }, /this url is one of this publisher itself/],
    ['one of this publisher by another name', 'far', { url: 'localhost' }, /this url is one of this publisher itself/],
  ])('never gets in the place of %s', async (_, id, more, why) => {
    const own = new URL(`${publisher.url}/channels/5.1.ts`);
    if (more.url !== undefined) own.hostname = more.url;
    const url = more.url === undefined ? GOOD.url : own.href;
    const { status, json } = await put(id, { ...GOOD, ...more, url });
    expect([status, json.detail]).toEqual([409, expect.stringMatching(why)]);
    expect(await ids()).toEqual(['own', '5.1', '7.1']);
  });

  it('has come through this publisher: a circle is refused', async () => {
    const { instance } = await publisher.json('/api/public-streams');
    expect(await put('far', { ...GOOD, via: ['other', instance] })).toMatchObject({ status: 409 });
  });

  it.each([
    ['no JSON', '{', 400, /the body must be JSON/],
    ['a field that is unknown', { ...GOOD, made: 'up' }, 400, /made/],
    ['no name', { ...GOOD, name: ' ' }, 400, /name must be a text/],
    ['a file', { ...GOOD, url: 'file:///etc/passwd' }, 400, /url must be an http\(s\) URL/],
    ['another protocol', { ...GOOD, url: 'rtsp://u:hunter2@h/1' }, 400, /url must be an http\(s\) URL/],
    ['a ttl that is too long', { ...GOOD, ttlSeconds: 1e9 }, 400, /ttlSeconds must be at most 86400/],
    ['a number that is no number', { ...GOOD, number: '../5' }, 400, /number must be a number/],
    ['a body without end', ' '.repeat(10_000_000), 413, /8192 bytes/],
  ])('with %s is refused', async (_, body, status, why) => {
    const answer = await put('bad', body);
    expect([answer.status, answer.json.detail]).toEqual([status, expect.stringMatching(why)]);
    expect(answer.text).not.toContain('hunter2');
  });

  it('with a bad id is refused', async () => {
    expect(await put('-bad', GOOD)).toMatchObject({ status: 400, json: { title: 'Bad id' } });
  });

  it('shows its credentials nowhere', async () => {
    await put('secret', { ...GOOD, url: 'http://user:hunter2@127.0.0.1:9/far.ts?token=hunter2' });
    const paths = ['/api/channels', '/api/public-streams', '/metrics', '/api/guide', '/xmltv.xml', '/lineup.json'];
    for (const path of paths) expect((await ask(publisher.url + path)).text).not.toContain('hunter2');
    expect(publisher.output).not.toContain('hunter2');
    await remove('secret');
  });

  it('is for who has the token only; who guesses is slowed down', async () => {
    const url = `${publisher.url}/api/public-streams/far`;
    const bare = await ask(url, { method: 'PUT', body: JSON.stringify(GOOD) });
    expect([bare.status, bare.headers.get('www-authenticate')]).toEqual([401, expect.stringContaining('Bearer')]);
    expect((await put('far', GOOD, 'another-token-of-16')).status).toBe(401);
    const guesses = Array.from({ length: 20 }, (_, count) => statusFromElsewhere('far', `another-token-of-${count}`));
    expect(new Set(await Promise.all(guesses))).toEqual(new Set([401, 429]));
    expect(await statusFromElsewhere('far', TOKEN)).toBe(429);
    expect(await ids()).not.toContain('far');
  });
});

it('without a token that is configured nobody may announce', async () => {
  await using closed = await PublisherProcess.start(['--discovery', 'off', '--source', 'a=http://127.0.0.1:9/a']);
  const { status, json } = await ask(`${closed.url}/api/public-streams/far`, { method: 'PUT', body: '{}' });
  expect([status, json.detail]).toEqual([403, expect.stringContaining('--publish-token')]);
});
