import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { DeviceGuide } from '../../examples/publisher/guide/device-guide.ts';
import { FileGuide } from '../../examples/publisher/guide/file-guide.ts';
import { Guide } from '../../examples/publisher/guide/guide.ts';
import { keptGuide } from '../../examples/publisher/guide/guide-intake.ts';
import { type GuideSubject, mergeGuides } from '../../examples/publisher/guide/guide-merge.ts';
import type { GuideSource } from '../../examples/publisher/guide/guide-source.ts';
import { UrlGuide } from '../../examples/publisher/guide/url-guide.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { checkAgainstDtd } from '../xmltv/support.ts';
import {
  EagerFile,
  EagerGuide,
  FIRST_HOUR_MS,
  GuideServer,
  guideOf,
  HOUR_MS,
  subject,
  titlesIn,
} from './guide-support.ts';

let dir: string;
let server: GuideServer;
let subjects: GuideSubject[];
let said: string[];
const failures = vi.fn();

beforeEach(async () => {
  dir = temporaryDirectory();
  server = await GuideServer.start();
  subjects = [subject('a'), subject('b')];
  said = [];
  failures.mockClear();
  vi.spyOn(process.stdout, 'write').mockImplementation((line) => said.push(JSON.parse(String(line)).msg) > 0);
});

function open(): Guide {
  const times = { stallTimeoutMs: 200, timeoutMs: 3_000, backoffMs: 20, settleMs: 20 };
  const guide = new Guide({ dir, log: createLog('json'), subjects: () => subjects, onPullFailed: failures, times });
  onTestFinished(() => guide[Symbol.asyncDispose]());
  return guide;
}

async function started(...sources: GuideSource[]): Promise<Guide> {
  const guide = open();
  await guide.start(sources);
  return guide;
}

async function expectTitles(guide: Guide, expected: Record<string, string[]>): Promise<void> {
  await eventually(async () => expect(await titlesIn(await guide.document())).toEqual(expected));
}

describe('the guide', () => {
  it('has every channel of ours, with what its sources have of it, the first winning', async () => {
    subjects.push(subject('c', { name: 'See & hear', number: '9.1', guideNumber: '9.1' }));
    server.gives(guideOf({ a: { from: 0, count: 2 }, x: { from: 0, count: 3 } }));
    const file = join(dir, 'file.xml');
    writeFileSync(file, guideOf({ a: { from: 1, count: 3, title: 'other' }, b: { from: 0, count: 1 } }));
    const guide = await started(new UrlGuide(server.url), new FileGuide(file));
    await expectTitles(guide, { a: ['a 0', 'a 1', 'other 2', 'other 3'], b: ['b 0'], '9.1': [] });
    expect(guide.nowAndNext('a')).toMatchObject({ now: { title: 'a 0' }, next: { title: 'a 1' } });
    expect(guide.nowAndNext('b')).toMatchObject({ now: { title: 'b 0' }, next: undefined });
    expect(guide.nowAndNext('c')).toEqual({ now: undefined, next: undefined });
    expect(guide.state.programmes).toBe(5);
  });

  it.each<[fault: string, answer: GuideServer['answer'], why: RegExp]>([
    ['hangs', () => {}, /nothing came for 0\.2 s/],
    ['stalls', (_, response) => response.write('<tv>'), /nothing came for 0\.2 s/],
    ['fails', (_, response) => response.writeHead(500).end(), /answered 500/],
    ['is torn', (_, response) => response.socket?.resetAndDestroy(), /can't be reached/],
    ['is empty', (_, response) => response.end(), /line 1: /],
    ['has nothing', (_, response) => response.end('<tv/>'), /no programme that is not over/],
    [
      'has only what is over',
      (_, response) => response.end(guideOf({ a: { from: -20, count: 5 } })),
      /no programme that is/,
    ],
    ['is a page', (_, response) => response.end('<html>Login</html>'), /line 1: it begins with <html>/],
    ['is cut', (_, response) => response.end(guideOf({ a: { from: 0, count: 9 } }).slice(0, -30)), /line \d+: /],
    [
      'is cut within gzip',
      (_, response) => response.end(gzipSync(guideOf({ a: { from: 0, count: 9 } })).subarray(0, -9)),
      /unexpected end/,
    ],
    [
      'is cut by the connection',
      (_, response) => response.writeHead(200, { 'Content-Length': 999 }).end('<tv>', () => response.destroy()),
      /./,
    ],
    [
      'is a bomb',
      (_, response) => response.end('<!DOCTYPE tv [<!ENTITY a "b">]><tv><programme channel="&a;"/></tv>'),
      /undefined entity/,
    ],
    ['redirects for ever', (_, response) => response.writeHead(302, { Location: server.url }).end(), /redirect/],
  ])('stays as it is if a pull %s, and goes on when the source is well', async (_, answer, why) => {
    server.gives(guideOf({ a: { from: 0, count: 2 }, b: { from: 0, count: 1 } }));
    const guide = await started(new EagerGuide(server.url));
    await expectTitles(guide, { a: ['a 0', 'a 1'], b: ['b 0'] });
    server.answer = answer;
    await eventually(() => expect(said.join('\n')).toMatch(why), 10_000);
    await eventually(() => expect(failures.mock.calls.length).toBeGreaterThan(1), 10_000);
    expect(await titlesIn(await guide.document())).toEqual({ a: ['a 0', 'a 1'], b: ['b 0'] });
    server.gives(guideOf({ a: { from: 0, count: 2, title: 'new' } }));
    await expectTitles(guide, { a: ['new 0', 'new 1'], b: ['b 0'] });
  });

  it('keeps what a pull says nothing about: other channels, and times before and after', async () => {
    server.gives(guideOf({ a: { from: -2, count: 6, title: 'old' }, b: { from: 0, count: 2 } }));
    const guide = await started(new EagerGuide(server.url));
    await expectTitles(guide, { a: [-2, -1, 0, 1, 2, 3].map((hour) => `old ${hour}`), b: ['b 0', 'b 1'] });
    server.gives(guideOf({ a: { from: 0, count: 2, title: 'new' } }));
    await expectTitles(guide, { a: ['old -2', 'old -1', 'new 0', 'new 1', 'old 2', 'old 3'], b: ['b 0', 'b 1'] });
  });

  it('loses an entry only when it has been over for six hours', async () => {
    const kept = await keptGuide(gzipSync(guideOf({ a: { from: -8, count: 12 }, b: { from: 0, count: 1 } })));
    const now = FIRST_HOUR_MS + HOUR_MS / 2;
    const titles = async (atMs: number) =>
      (await titlesIn(await mergeGuides([subject('a')], [kept], { nowMs: atMs }))).a;
    expect(await titles(now)).toEqual([-6, -5, -4, -3, -2, -1, 0, 1, 2, 3].map((from) => `a ${from}`));
    expect(await titles(now + 8 * HOUR_MS)).toEqual(['a 2', 'a 3']);
    expect(await titles(now + 20 * HOUR_MS)).toEqual([]);
  });

  it('goes on with what was served of a channel, and not of another that had its number', async () => {
    const kept = await keptGuide(gzipSync(guideOf({ a: { from: 0, count: 1 }, b: { from: 0, count: 1 } })));
    const options = { nowMs: Date.now() };
    const of = (id: string, guideNumber: string) => subject(id, { name: `${id} & Co.`, guideNumber, guideId: id });
    const { gzip: before } = await mergeGuides([of('a', '5'), of('b', '6')], [kept], options);
    const merged = await mergeGuides([of('c', '5'), of('b', '6'), of('a', '7')], [], { ...options, before });
    expect(await titlesIn(merged)).toEqual({ '5': [], '6': ['b 0'], '7': [] });
  });

  it('is valid though an attribute of a programme has another in its text', async () => {
    const start = `${new Date().getUTCFullYear() + 1}`;
    const programme = `<programme showview="a channel=b stop='x'" channel="a" start="${start}"><title>A</title></programme>`;
    server.gives(`<tv><channel id="a"/>${programme}</tv>`);
    const guide = await started(new UrlGuide(server.url));
    await expectTitles(guide, { a: ['A'], b: [] });
    await checkAgainstDtd(gunzipSync((await guide.document()).gzip).toString());
  });

  it('is there at once after a restart, without its source, under the same tag', async () => {
    server.gives(guideOf({ a: { from: 0, count: 2 } }));
    const before = await started(new UrlGuide(server.url));
    await expectTitles(before, { a: ['a 0', 'a 1'], b: [] });
    const { hash } = await before.document();
    await before[Symbol.asyncDispose]();
    const asked = server.asked.length;
    const after = await started(new UrlGuide(server.url));
    expect((await after.document()).hash).toBe(hash);
    await eventually(() => expect(after.nowAndNext('a').now).toMatchObject({ title: 'a 0' }));
    expect(server.asked.length).toBe(asked);
  });

  it('asks for a document only if it is another than it has', async () => {
    const headers = { ETag: '"one"', 'Last-Modified': new Date(0).toUTCString() };
    server.gives(guideOf({ a: { from: 0, count: 2 } }), headers);
    const guide = await started(new EagerGuide(server.url));
    await expectTitles(guide, { a: ['a 0', 'a 1'], b: [] });
    server.answer = (_, response) => response.writeHead(304).end();
    await eventually(() => expect(server.asked.length).toBeGreaterThan(4));
    expect(server.asked.at(-1)?.headers).toMatchObject({
      'if-none-match': '"one"',
      'if-modified-since': headers['Last-Modified'],
    });
    expect(failures).not.toHaveBeenCalled();
    expect(await titlesIn(await guide.document())).toEqual({ a: ['a 0', 'a 1'], b: [] });
  });

  it.each<[string, Record<string, string>]>([
    ['a header', { 'Content-Encoding': 'gzip' }],
    ['nothing but its bytes', {}],
  ])('is read packed as %s says', async (_, headers) => {
    server.gives(gzipSync(guideOf({ a: { from: 0, count: 1 } })), headers);
    await expectTitles(await started(new UrlGuide(server.url)), { a: ['a 0'], b: [] });
  });

  it('keeps what it has until a source that came in the place of another has given something', async () => {
    server.gives(guideOf({ a: { from: 0, count: 2 }, b: { from: 0, count: 1 } }));
    subjects = [subject('a', { guideNumber: '9001', guideId: 'A' }), subject('b')];
    const guide = await started(new UrlGuide(`${server.url}?token=1`));
    await expectTitles(guide, { '9001': ['a 0', 'a 1'], b: ['b 0'] });
    server.answer = (_, response) => response.writeHead(403).end();
    await guide.setSources([new EagerGuide(`${server.url}?token=2`)]);
    await eventually(() => expect(failures).toHaveBeenCalled());
    await guide[Symbol.asyncDispose]();
    const again = await started(new EagerGuide(`${server.url}?token=2`));
    await eventually(() => expect(again.nowAndNext('a').now).toMatchObject({ title: 'a 0' }));
    expect(await titlesIn(await again.document())).toEqual({ '9001': ['a 0', 'a 1'], b: ['b 0'] });
    server.gives(guideOf({ a: { from: 0, count: 1, title: 'new' } }));
    await expectTitles(again, { '9001': ['new 0'], b: [] });
  });

  it('is made anew if what was kept of it can not be read', async () => {
    writeFileSync(join(dir, 'guide.xml.gz'), 'garbage');
    const guide = await started(new UrlGuide('http://127.0.0.1:9/'));
    await expectTitles(guide, { a: [], b: [] });
    expect(said.join('\n')).toMatch(/guide\.xml\.gz can't be gone on with: .*; it is made anew/);
  });

  it('is of the sources that it was given last, though it was starting then', async () => {
    server.gives(guideOf({ a: { from: 0, count: 1 } }));
    const guide = open();
    const before = new UrlGuide('http://127.0.0.1:9/');
    await Promise.all([guide.start([before]), guide.setSources([new UrlGuide(server.url)])]);
    await expectTitles(guide, { a: ['a 0'], b: [] });
    expect([...guide.state.ages.keys()]).toEqual([server.url]);
  });

  it('asks nobody any more once it is closed, not even for sources that it is given then', async () => {
    const starting = open();
    const started = starting.start([new UrlGuide(server.url)]);
    await starting[Symbol.asyncDispose]();
    await started;
    await starting.setSources([new UrlGuide(server.url)]);
    for (const path of ['/one', '/two']) await (await fetch(new URL(path, server.url))).text();
    expect(server.asked.map(({ url }) => url)).toEqual(['/one', '/two']);
  });

  it('gives the credentials of a URL to its server only', async () => {
    server.answer = (_, response) => response.writeHead(403).end();
    const url = server.url.replace('//', '//me:hunter2@');
    await started(new UrlGuide(`${url}?password=hunter2`));
    await eventually(() => expect(failures).toHaveBeenCalled());
    const authorization = `Basic ${Buffer.from('me:hunter2').toString('base64')}`;
    expect(server.asked[0]?.headers).toMatchObject({ authorization });
    expect(said.join('\n') + JSON.stringify(failures.mock.calls) + readdirSync(dir).join()).not.toContain('hunter2');
  });

  it('follows a file that changes, appears and is replaced by garbage', async () => {
    const file = join(dir, 'file.xml');
    expect(new FileGuide(file).nextPullMs()).toBe(2_000);
    const guide = await started(new EagerFile(file));
    await eventually(() => expect(said.join('\n')).toMatch(/does not exist \(ENOENT\); it has given nothing yet/));
    writeFileSync(file, guideOf({ a: { from: 0, count: 1 } }));
    await expectTitles(guide, { a: ['a 0'], b: [] });
    writeFileSync(file, gzipSync(guideOf({ a: { from: 0, count: 1, title: 'new' } })));
    await eventually(
      async () => expect(await titlesIn(await guide.document())).toEqual({ a: ['new 0'], b: [] }),
      8_000,
    );
    writeFileSync(file, 'garbage');
    await eventually(() => expect(said.join('\n')).toMatch(/line 1: .*the 1 programmes it had stay/), 8_000);
    expect(await titlesIn(await guide.document())).toEqual({ a: ['new 0'], b: [] });
  });

  it('is made anew when our channels are others, and has the new ones', async () => {
    server.gives(guideOf({ a: { from: 0, count: 1 }, z: { from: 0, count: 1 } }));
    const guide = await started(new UrlGuide(server.url));
    await expectTitles(guide, { a: ['a 0'], b: [] });
    subjects = [subject('a'), subject('z')];
    guide.subjectsChanged();
    await expectTitles(guide, { a: ['a 0'], z: ['z 0'] });
  });

  it('is valid by the document type of XMLTV', async () => {
    const strange = `<tv><channel id="a"/><programme channel="a" start="${new Date().getUTCFullYear() + 1}">
      <made-up/><desc>first</desc><title>A &amp; B</title><icon/><length>5</length></programme></tv>`;
    server.gives(strange);
    subjects.push(subject('c', { name: '<&>"\0', logo: 'http://h/?a=1&b=2' }));
    const guide = await started(new UrlGuide(server.url));
    await expectTitles(guide, { a: ['A & B'], b: [], c: [] });
    const { gzip } = await guide.document();
    await checkAgainstDtd(gunzipSync(gzip).toString());
  });
});

describe('the guide of the makers of the devices', () => {
  it('is asked for with what all devices that answer say for it, and again 20 to 28 hours later', async () => {
    await using one = await HdhomerunSimulator.start();
    await using two = await HdhomerunSimulator.start();
    server.gives(guideOf({ a: { from: 0, count: 1 } }));
    const addresses = [one.url, 'http://127.0.0.1:9', two.url];
    const service = new URL(server.url).origin;
    await expectTitles(await started(new DeviceGuide({ addresses, service })), { a: ['a 0'], b: [] });
    expect(server.asked.map(({ url }) => url)).toEqual(['/api/xmltv?DeviceAuth=simulatedsimulated']);
    const hours = (random: number) => new DeviceGuide({ addresses, random: () => random }).nextPullMs() / HOUR_MS;
    expect([hours(0), hours(0.5), hours(1)]).toEqual([20, 24, 28]);
  });

  it('is asked for at once, over a restart too, when the devices are others, and only then', async () => {
    await using one = await HdhomerunSimulator.start();
    await using two = await HdhomerunSimulator.start();
    server.gives(guideOf({ a: { from: 0, count: 1 } }));
    const of = (...addresses: string[]) => new DeviceGuide({ addresses, service: new URL(server.url).origin });
    const asked = () => server.asked.map(({ url }) => url?.replace('/api/xmltv?DeviceAuth=', ''));
    const before = await started(of(one.url, two.url));
    await expectTitles(before, { a: ['a 0'], b: [] });
    await before.setSources([of(two.url, one.url)]);
    await before[Symbol.asyncDispose]();
    const again = await started(of(one.url, two.url));
    await again[Symbol.asyncDispose]();
    expect(asked()).toEqual(['simulatedsimulated']);
    const after = await started(of(one.url));
    await eventually(() => expect(asked()).toEqual(['simulatedsimulated', 'simulated']));
    await expectTitles(after, { a: ['a 0'], b: [] });
  });

  it.each(['', ' over a restart'])(
    'keeps what it had of a device that is down when others are added%s',
    async (how) => {
      await using one = await HdhomerunSimulator.start();
      await using two = await HdhomerunSimulator.start();
      const of = (...addresses: string[]) => new DeviceGuide({ addresses, service: new URL(server.url).origin });
      server.gives(guideOf({ a: { from: 0, count: 1 }, b: { from: 0, count: 1 } }));
      const before = await started(of(one.url));
      await expectTitles(before, { a: ['a 0'], b: ['b 0'] });
      server.gives(guideOf({ a: { from: 0, count: 1, title: 'new' } }));
      if (how !== '') await before[Symbol.asyncDispose]();
      const after = how === '' ? before : open();
      await (how === '' ? after.setSources([of(one.url, two.url)]) : after.start([of(one.url, two.url)]));
      await expectTitles(after, { a: ['new 0'], b: ['b 0'] });
      expect(readFileSync(join(dir, 'pulls.json'), 'utf8')).not.toContain(new URL(one.url).host);
    },
  );

  it('is not asked for if no device says anything for it', async () => {
    await started(new DeviceGuide({ addresses: ['http://127.0.0.1:9'], service: new URL(server.url).origin }));
    await eventually(() => expect(said.join('\n')).toMatch(/no device answers and says its DeviceAuth/));
    expect(server.asked).toEqual([]);
  });
});
