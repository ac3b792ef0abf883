import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream } from '../support/transport-stream.ts';
import {
  ask,
  makeFile,
  makeRecording,
  PublisherProcess,
  pidsOfChildren,
  processesWith,
  streamsOf,
  Viewer,
} from './support.ts';

const MEGABITS = 24;
const USER = 'kestrel';
const PASSWORD = 'tulip-7731';
const TOKEN = 'zebra-4242';

const folder = temporaryDirectory(afterAll);
let recording: string;
let server: Server;
let port: number;
/** What the server was asked with. */
const authorizations: (string | undefined)[] = [];

beforeAll(async () => {
  recording = join(folder, 'recording.ts');
  await makeRecording(recording, MEGABITS);
  server = createServer((request, response) => {
    authorizations.push(request.headers.authorization);
    if (!request.headers.authorization) response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
    else if (request.url?.startsWith('/refuse')) response.writeHead(403).end();
    else createReadStream(recording).pipe(response, { end: false });
  }).listen(0, '127.0.0.1');
  await eventually(() => expect(server.listening).toBe(true));
  port = (server.address() as AddressInfo).port;
});

afterAll(() => {
  server.close();
  server.closeAllConnections();
});

const encodersOf = (publisher: PublisherProcess) => {
  const encoding = processesWith('-mpegts_flags');
  return pidsOfChildren(publisher.pid).filter((pid) => encoding.includes(pid));
};

describe('a source', () => {
  it('that is a file is a live channel: in a loop, without the device', async () => {
    await using publisher = await PublisherProcess.start([
      '--source',
      `film=${recording}`,
      '--lock-dir',
      temporaryDirectory(),
    ]);
    expect(await streamsOf(`${publisher.url}/channels/film.ts`)).toEqual(['audio', 'video']);
    using viewer = await Viewer.open(`${publisher.url}/channels/film.ts`);
    await viewer.more(2.5 * (MEGABITS / 8) * 1_000_000); // the file has two seconds
    expect((await publisher.json('/api/channels')).demo).toBe(false);
  });

  it('that is HTTP is read with its credentials', async () => {
    const source = `cam=http://${USER}:${PASSWORD}@127.0.0.1:${port}/live.ts`;
    await using publisher = await PublisherProcess.start(['--source', source, '--lock-dir', temporaryDirectory()]);
    using viewer = await Viewer.open(`${publisher.url}/channels/cam.ts`);
    await viewer.more();
    expect(authorizations.at(-1)).toBe(`Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`);
  });

  it('stays open for closeAfterMs after its last viewer, and goes then', async () => {
    const closeAfterMs = promisedMs(600);
    const args = [
      '--source',
      `film=${recording}`,
      '--lock-dir',
      temporaryDirectory(),
      '--close-after-ms',
      String(closeAfterMs),
    ];
    await using publisher = await PublisherProcess.start(args);
    const viewer = await Viewer.open(`${publisher.url}/channels/film.ts`);
    await viewer.more();
    const [encoder] = encodersOf(publisher);
    viewer.leave();
    const leftAt = performance.now();
    await eventually(async () => expect((await publisher.channel('film')).viewers).toBe(0));
    using back = await Viewer.open(`${publisher.url}/channels/film.ts`);
    await back.more();
    expect(encodersOf(publisher)).toEqual([encoder]);
    back.leave();
    await eventually(() => expect(encodersOf(publisher)).toEqual([]), patienceMs(10_000));
    expect(performance.now() - leftAt).toBeGreaterThan(closeAfterMs);
  });

  it('of which one viewer never reads: that one is dropped at the bound and the others lose nothing', async () => {
    await using publisher = await PublisherProcess.start([
      '--source',
      `film=${recording}`,
      '--lock-dir',
      temporaryDirectory(),
    ]);
    const { host, hostname, port: httpPort } = new URL(publisher.url);
    using healthy = await Viewer.open(`${publisher.url}/channels/film.ts`, { keep: true });
    const blocked = connect(Number(httpPort), hostname).pause();
    blocked.write(`GET /channels/film.ts HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    let reset = false;
    blocked.on('error', () => {
      reset = true;
    });
    await publisher.says(/a subscriber of film lags: \d+ bytes behind, more than 4194304/, patienceMs(20_000));
    await eventually(async () => expect((await publisher.channel('film')).viewers).toBe(1));
    await healthy.more(1_000_000);
    expect(healthy.isGone).toBe(false);
    expect(inspectTransportStream(Buffer.concat(healthy.chunks))).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
    blocked.resume();
    await eventually(() => expect(reset || blocked.destroyed).toBe(true));
    blocked.destroy();
  });
});

describe('a source that MPEG-TS can not carry', () => {
  const recipes = {
    vp9: ['film.webm', '-an', '-c:v', 'libvpx-vp9', '-deadline', 'realtime'],
    mjpeg: ['film.avi', '-an', '-c:v', 'mjpeg'],
    pcm_s16le: ['sound.wav', '-vn', '-c:a', 'pcm_s16le'],
    flac: ['film.mkv', '-c:v', 'libx264', '-c:a', 'flac'],
  };

  it('is 502 that names the codec, no byte of it, and a line in the log', async () => {
    const sources = Object.entries(recipes).map(async ([codec, [name = '', ...encode]]) => {
      await makeFile(join(folder, name), ...encode);
      return ['--source', `${codec}=${join(folder, name)}`];
    });
    const args = [...(await Promise.all(sources)).flat(), '--lock-dir', temporaryDirectory()];
    await using publisher = await PublisherProcess.start(args);
    for (const codec of Object.keys(recipes)) {
      const { status, json } = await ask(`${publisher.url}/channels/${codec}.ts`);
      expect([codec, status, json.code]).toEqual([codec, 502, 'PUBLISHER_CODEC_NOT_CARRIED']);
      expect(json.detail).toContain(`can't carry the codec ${codec} of this source`);
      expect(json.detail).toContain('transcoded');
      expect(publisher.output).toMatch(new RegExp(`WARN channel ${codec}: .*the codec ${codec}`));
    }
    expect(encodersOf(publisher)).toEqual([]);
  });
});

describe('a source that is a file which is not there', () => {
  it('is warned of at the start, by its absolute path', async () => {
    const args = ['--source', 'film=nowhere/film.ts', '--source', `here=${recording}`];
    await using publisher = await PublisherProcess.start([...args, '--lock-dir', temporaryDirectory()]);
    expect(publisher.output).toContain(`WARN source film: ${resolve('nowhere/film.ts')} does not exist (ENOENT)`);
    expect(publisher.output).not.toContain('WARN source here');
  });
});

describe('a URL with credentials', () => {
  it('is nowhere visible: not in the log, the locks, the metrics, the API, an error or the page', async () => {
    const lockDir = temporaryDirectory();
    const at = `http://${USER}:${PASSWORD}@127.0.0.1:${port}`;
    const args = ['--source', `cam=${at}/live.ts?token=${TOKEN}`, '--source', `bad=${at}/refuse?password=${TOKEN}`];
    const device = ['--device', `http://${USER}:${PASSWORD}@127.0.0.1:1`, '--lock-dir', lockDir];
    for (const format of ['pretty', 'json']) {
      await using publisher = new PublisherProcess(['--port', '0', '--log', format, ...args, ...device]);
      await publisher.says(/no channel is known|watch: /);
      using viewer = await Viewer.open(`${publisher.url}/channels/cam.ts`);
      await viewer.more();
      const seen = [await ask(`${publisher.url}/channels/bad.ts`)];
      const paths = ['/', '/api/channels', '/api/public-streams', '/api/tuners', '/api/locks', '/metrics', '/readyz'];
      for (const path of paths) seen.push(await ask(publisher.url + path));
      expect(seen[0]?.status).toBe(502);
      const locks = readdirSync(lockDir).map((name) => name + readFileSync(join(lockDir, name), 'latin1'));
      expect(locks.join()).toContain('live.ts');
      const everything = [publisher.output, ...seen.map(({ text }) => text), ...locks].join('\n');
      for (const secret of [PASSWORD, TOKEN, USER, Buffer.from(`${USER}:${PASSWORD}`).toString('base64')]) {
        expect(everything).not.toContain(secret);
      }
      expect(everything).toContain('http://***@127.0.0.1');
    }
    expect(existsSync(lockDir)).toBe(true);
  });
});
