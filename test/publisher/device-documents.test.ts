import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CHANNELS, DeviceClient, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Answer, ask, type Json, PublisherProcess } from './support.ts';

const TOKEN = 'a token of the operator'.replaceAll(' ', '-');
const lockDir = temporaryDirectory(afterAll);
const stateDir = temporaryDirectory(afterAll);
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;

const SOURCES = {
  odd: { url: '/nowhere/odd.ts', name: 'A "quoted" <name> & a\nbreak' },
  again: { url: '/nowhere/again.ts', number: '5.1' },
  attic: { url: '/nowhere/attic.ts', number: '12', name: 'Attic' },
};

function start(...flags: readonly string[]): Promise<PublisherProcess> {
  const sources = Object.entries(SOURCES).map(([id, source]) => `${id}=${JSON.stringify(source)}`);
  return PublisherProcess.start([
    ...['--device', simulator.url, '--lock-dir', lockDir, '--operator-token', TOKEN, '--friendly-name', 'The house'],
    ...sources.flatMap((source) => ['--source', source]),
    ...flags,
  ]);
}

beforeAll(async () => {
  const channels = [
    ...DEFAULT_CHANNELS.map((channel) => ({ ...channel, hd: channel.number === '9.1' })),
    { number: '11.1', name: 'Safe', drm: true },
  ];
  simulator = await HdhomerunSimulator.start({ channels });
  publisher = await start('--state-dir', stateDir);
  await publisher.says(/3 channels: /);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

const numbersIn = (lineup: readonly Json[]) => lineup.map(({ GuideNumber }) => GuideNumber);
const lineup = async (query = '') => (await publisher.json(`/lineup.json${query}`)) as Json[];
const post = (query: string, token?: string): Promise<Answer> =>
  ask(`${publisher.url}/lineup.post?${query}`, {
    method: 'POST',
    headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
  });

/** With the host that a client says it asks. */
async function askedAs(host: string, path: string, from = publisher): Promise<Json> {
  const asked = request(from.url + path, { headers: { Host: host }, agent: false }).end();
  const response = await new Promise<AsyncIterable<Buffer>>((resolve) => asked.on('response', resolve));
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return JSON.parse(String(Buffer.concat(chunks)));
}

describe('the documents', () => {
  it('have the headers of a device', async () => {
    for (const path of ['/discover.json', '/lineup.json', '/lineup_status.json', '/status.json']) {
      const { status, headers } = await ask(publisher.url + path);
      expect([path, status, headers.get('content-type')]).toEqual([path, 200, 'application/json; charset="utf-8"']);
      expect(headers.get('server')).toBe('HDHomeRun/1.0');
      expect(headers.get('cache-control')).toBe('no-cache');
      expect(headers.get('access-control-allow-origin')).toBe('*');
      expect(headers.get('connection')).toBe('close');
    }
  });

  it('discover.json has the fields of a real device in their order', async () => {
    const { text, json } = await ask(`${publisher.url}/discover.json`);
    expect(text).toBe(
      `{"FriendlyName":"The house","ModelNumber":"HDTC-2US","FirmwareName":"hdhomeruntc_atsc",` +
        `"FirmwareVersion":"20250506","DeviceID":"${json.DeviceID}","DeviceAuth":"${json.DeviceAuth}",` +
        `"BaseURL":"${publisher.url}","LineupURL":"${publisher.url}/lineup.json","TunerCount":5}`,
    );
    expect(json.DeviceAuth).toMatch(/^[\w-]{24}$/);
  });

  it('lineup.json has the channels by number, each number once, and none that is copy protected', async () => {
    const url = (number: string) => `${publisher.url}/auto/v${number}`;
    expect(await lineup('?show=found&tuning')).toEqual([
      { GuideNumber: '5.1', GuideName: 'again', URL: url('5.1') },
      { GuideNumber: '7.1', GuideName: 'Granite Sport', URL: url('7.1') },
      { GuideNumber: '9.1', GuideName: 'Evening Film', HD: 1, URL: url('9.1') },
      { GuideNumber: '12', GuideName: 'Attic', URL: url('12') },
      { GuideNumber: '9001', GuideName: 'A "quoted" <name> & a break', URL: url('9001') },
      { GuideNumber: '9002', GuideName: 'Harbour News', Favorite: 1, URL: url('9002') },
    ]);
    expect(Object.keys((await lineup())[2])).toEqual(['GuideNumber', 'GuideName', 'HD', 'URL']);
  });

  it('lineup.xml and lineup.m3u say the same, whatever is in a name', async () => {
    const xml = await ask(`${publisher.url}/lineup.xml`);
    expect(xml.headers.get('content-type')).toBe('application/xml; charset="utf-8"');
    expect(xml.text).toContain(
      '<Program><GuideNumber>9001</GuideNumber><GuideName>A "quoted" &lt;name&gt; &amp; a break</GuideName>' +
        `<URL>${publisher.url}/auto/v9001</URL></Program>`,
    );
    expect(xml.text.match(/<Program>/g)).toHaveLength(6);
    const m3u = await ask(`${publisher.url}/lineup.m3u`);
    const lines = m3u.text.split('\n');
    expect(lines).toHaveLength(1 + 2 * 6 + 1);
    expect(lines.slice(0, 1)).toEqual(['#EXTM3U']);
    expect(lines.slice(9, 11)).toEqual([
      `#EXTINF:-1 channel-id="9001" channel-number="9001" tvg-name="A 'quoted' <name> & a break",9001 A 'quoted' <name> & a break`,
      `${publisher.url}/auto/v9001`,
    ]);
  });

  it('give addresses by the host that was asked', async () => {
    const { BaseURL, LineupURL } = await askedAs('localhost:8443', '/discover.json');
    expect([BaseURL, LineupURL]).toEqual(['http://localhost:8443', 'http://localhost:8443/lineup.json']);
    expect((await askedAs('[::1]:80', '/lineup.json'))[0].URL).toBe('http://[::1]/auto/v5.1');
    await using open = await start('--bind', '0.0.0.0');
    expect((await askedAs('tv.example', '/lineup.json', open))[0].URL).toBe('http://tv.example/auto/v5.1');
    for (const host of ['a/b', 'a@b', 'a b', '"', 'a:99999', '']) {
      expect((await askedAs(host, '/discover.json', open)).BaseURL).toBe(open.url);
    }
  });

  it('device.xml describes the device to UPnP', async () => {
    const { DeviceID } = await publisher.json('/discover.json');
    const { text, headers } = await ask(`${publisher.url}/device.xml`);
    expect(headers.get('content-type')).toBe('application/xml; charset="utf-8"');
    expect(text).toContain(`<URLBase>${publisher.url}</URLBase>`);
    expect(text).toContain('<deviceType>urn:schemas-upnp-org:device:MediaServer:1</deviceType>');
    expect(text).toContain('<friendlyName>The house</friendlyName><manufacturer>Silicondust</manufacturer>');
    expect(text).toContain(`<UDN>uuid:00000000-0000-1000-8000-0000${DeviceID.toLowerCase()}</UDN>`);
  });

  it('are what our own client of devices reads', async () => {
    const device = await DeviceClient.at(publisher.url);
    expect(device.description).toMatchObject({ friendlyName: 'The house', tunerCount: 5 });
    expect((await device.lineup()).map(({ number }) => number)).toEqual(['5.1', '7.1', '9.1', '12', '9001', '9002']);
    expect(await device.status()).toHaveLength(5);
  });
});

describe('a scan', () => {
  it('is possible, and reads the lineup of the device now', async () => {
    const status = '{"ScanInProgress":0,"ScanPossible":1,"Source":"Antenna","SourceList":["Antenna","Cable"]}';
    expect((await ask(`${publisher.url}/lineup_status.json`)).text).toBe(status);
    simulator.misbehave({ fault: 'hang-lineup', times: 1 });
    const { status: started, text } = await post('scan=start&source=Antenna');
    expect([started, text]).toEqual([200, '']);
    const running = await publisher.json('/lineup_status.json');
    expect(running).toEqual({ ScanInProgress: 1, Progress: expect.any(Number), Found: 6 });
    expect((await post('scan=start')).status).toBe(200);
    expect((await post('scan=abort')).status).toBe(200);
    expect((await ask(`${publisher.url}/lineup_status.json`)).text).toBe(status);
    simulator.heal();
    await eventually(async () => {
      await post('scan=start');
      expect((await publisher.json('/api/tuners')).devices[0].lastError).toBeNull();
    });
  });

  it.each(['', 'scan=', 'scan=now', 'favourite=5.1'])('is no request of lineup.post by "%s": 400', async (query) => {
    expect((await post(query, TOKEN)).status).toBe(400);
    expect((await ask(`${publisher.url}/lineup.post?${query}`)).status).toBe(405);
  });
});

describe('favourites', () => {
  it('are changed by nobody without the operator token', async () => {
    for (const token of [undefined, 'wrong', TOKEN.slice(1)]) {
      const { status, json } = await post('favorite=+7.1', token);
      expect([status, json.title]).toEqual([401, 'A token is needed']);
    }
    expect((await lineup('?show=favorites')).map(({ GuideNumber }) => GuideNumber)).toEqual(['9002']);
    await using open = await PublisherProcess.start(['--source', 'a=/nowhere/a.ts', '--lock-dir', lockDir]);
    const init = { method: 'POST', headers: { Authorization: 'Bearer ' } };
    expect((await ask(`${open.url}/lineup.post?favorite=+9001`, init)).status).toBe(403);
  });

  it.each(['favorite=', 'favorite=7.1', 'favorite=*7.1', 'favorite=+6.1'])('are not "%s": 400', async (query) => {
    expect((await post(query, TOKEN)).status).toBe(400);
  });

  it('and channels that are not shown are marked as on a device, and are the same after a restart', async () => {
    for (const mark of ['+7.1', '-9002', '%2B9.1', 'x12']) {
      expect(await post(`favorite=${mark}`, TOKEN)).toMatchObject({ status: 200, text: '' });
    }
    const isMarked = async () => {
      expect(numbersIn(await lineup('?show=favorites'))).toEqual(['7.1', '9.1']);
      expect(numbersIn(await lineup())).toEqual(['5.1', '7.1', '9.1', '9001', '9002']);
      expect((await lineup('?show=all')).find(({ GuideNumber }) => GuideNumber === '12')).toEqual({
        ...{ GuideNumber: '12', GuideName: 'Attic', Enabled: 0, URL: `${publisher.url}/auto/v12` },
      });
    };
    await isMarked();
    expect(JSON.parse(readFileSync(join(stateDir, 'lineup.json'), 'utf8')).marks).toMatchObject({ attic: 'x' });
    const { DeviceID } = await publisher.json('/discover.json');
    await publisher[Symbol.asyncDispose]();
    publisher = await start('--state-dir', stateDir);
    await publisher.says(/3 channels: /);
    expect((await publisher.json('/discover.json')).DeviceID).toBe(DeviceID);
    await isMarked();
    for (const mark of ['-7.1', '+9002', '-9.1', '-12']) {
      expect((await post(`favorite=${mark}`, TOKEN)).status).toBe(200);
    }
    expect(numbersIn(await lineup())).toContain('12');
    expect(numbersIn(await lineup('?show=favorites'))).toEqual(['9002']);
  });
});
