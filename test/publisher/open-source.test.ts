import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { ProcessPool, SourceLock } from 'holdfast';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { failureOf } from '../../examples/publisher/failure.ts';
import { type OpenSource, openSource, type SourceTerms } from '../../examples/publisher/pipeline/open-source.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { makeFile, makeRecording, pidsOfChildren, processesWith } from './support.ts';

const folder = temporaryDirectory(afterAll);
let recording: Buffer;
let pool: ProcessPool;
let holds: SourceLock;

beforeAll(async () => {
  await makeRecording(join(folder, 'recording.ts'));
  recording = readFileSync(join(folder, 'recording.ts'));
  pool = new ProcessPool({ max: 2, acquire: { maxAttempts: 1 } });
  holds = await SourceLock.acquire('test:open-source', { dir: join(folder, 'locks') });
});

afterAll(async () => {
  await holds.release();
  await pool.close();
});

const encoders = () => pidsOfChildren(process.pid).filter((pid) => processesWith('-mpegts_flags').includes(pid));

afterEach(() => eventually(() => expect(encoders()).toEqual([])));

async function serve(
  answer: RequestListener,
): Promise<{ url: string; host: string; connections: Set<Socket>; server: Server }> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  const connections = new Set<Socket>();
  server.on('connection', (socket) => connections.add(socket.on('close', () => connections.delete(socket))));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url: `http://${host}`, host, connections, server };
}

/** A live stream: the recording, and then no end. */
const live: RequestListener = (_, response) =>
  void response.writeHead(200, { 'Content-Type': 'video/mpeg' }).write(recording);

/** @param ffmpeg throws by default: nothing may need it */
function open(url: string, terms: Partial<SourceTerms> = {}): Promise<OpenSource> {
  const needed = () => {
    throw new Error('ffmpeg was asked for');
  };
  const times = { startTimeoutMs: patienceMs(10_000), stallTimeoutMs: patienceMs(10_000) };
  const { signal } = new AbortController();
  return openSource({ url }, 'name', { signal, holds, pool, key: 'test', ffmpeg: needed, ...times, ...terms });
}

/** Reads until so many bytes are there. */
async function read({ stdout }: OpenSource, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdout.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= bytes) break;
  }
  return Buffer.concat(chunks);
}

/** The status, code and words with which an opening fails. */
async function failure(opening: Promise<OpenSource>) {
  const error = await opening.then(
    () => undefined,
    (reason) => reason,
  );
  const { status, detail, code, deviceError } = failureOf(error);
  return { status, detail, code, deviceError };
}

describe('an http source that gives MPEG-TS', () => {
  it('is passed on byte for byte without a process, and tells its tuner', async () => {
    const { url } = await serve((_, response) => {
      response.setHeader('X-HDHomeRun-Resource', 'tuner1');
      response.write(recording);
    });
    await using source = await open(url);
    expect((await read(source, recording.length)).equals(recording)).toBe(true);
    expect(source.resource).toBe('tuner1');
    expect([encoders(), pool.stats().active]).toEqual([[], 0]);
  });

  it.each([
    ['chunked', {}],
    ['of a length', { 'Content-Length': 10_000_000 }],
    ['of the wrong type', { 'Content-Type': 'text/plain' }],
  ])('is passed on when it is %s', async (_, headers) => {
    const { url } = await serve((_request, response) => void response.writeHead(200, headers).write(recording));
    await using source = await open(url);
    expect((await read(source, recording.length)).equals(recording)).toBe(true);
  });

  it('that comes in drops of some bytes is waited for', async () => {
    const { url } = await serve(async (_, response) => {
      for (let at = 0; at < 4_000; at += 100) {
        response.write(recording.subarray(at, at + 100));
        await new Promise(setImmediate);
      }
    });
    await using source = await open(url);
    expect((await read(source, 4_000)).equals(recording.subarray(0, 4_000))).toBe(true);
  });

  it('that begins within a packet is given from the next one on', async () => {
    const { url } = await serve((_, response) => void response.write(recording.subarray(100)));
    await using source = await open(url);
    expect((await read(source, 18_800)).subarray(0, 18_800).equals(recording.subarray(188, 188 + 18_800))).toBe(true);
  });

  it('is closed at once when it is disposed, and its descriptor is free when that resolves', async () => {
    const { url, connections } = await serve(live);
    const source = await open(url);
    await read(source, 1_000);
    expect(connections.size).toBe(1);
    await source[Symbol.asyncDispose]();
    expect(await source.closed).toMatchObject({ reason: 'terminated' });
    await eventually(() => expect(connections.size).toBe(0), promisedMs(250));
  });

  it('is closed when its signal aborts, before its answer and after', async () => {
    const silent = await serve(() => {});
    const early = new AbortController();
    const opening = open(silent.url, { signal: early.signal });
    await eventually(() => expect(silent.connections.size).toBe(1));
    early.abort(new Error('not wanted'));
    await expect(opening).rejects.toThrow('not wanted');
    await eventually(() => expect(silent.connections.size).toBe(0));
    const { url, connections } = await serve(live);
    const late = new AbortController();
    const source = await open(url, { signal: late.signal });
    late.abort();
    expect(await source.closed).toMatchObject({ reason: 'aborted' });
    await eventually(() => expect(connections.size).toBe(0));
  });

  it('is read no faster than it is taken', async () => {
    let sent = 0;
    const { url } = await serve((_, response) => {
      const more = () => {
        while (response.write(recording)) sent += recording.length;
        sent += recording.length;
      };
      response.on('drain', more);
      more();
    });
    await using source = await open(url);
    await eventually(() => expect(sent).toBeGreaterThan(0));
    const before = process.memoryUsage().arrayBuffers;
    await throughout(500, () => {});
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
    expect(source.stdout.readableLength).toBeLessThan(1_000_000);
  });
});

describe('an http source that breaks', () => {
  async function ending(answer: RequestListener, terms: Partial<SourceTerms> = {}) {
    const { url } = await serve(answer);
    const source = await open(url, terms);
    source.stdout.resume();
    const [error] = await once(source.stdout, 'error').catch((thrown) => [thrown]);
    return { error: error as Error, end: await source.closed, failure: failureOf(error) };
  }

  it('because it is cut says so', async () => {
    const { error, end, failure } = await ending((request, response) => {
      response.write(recording, () => setTimeout(() => request.socket.resetAndDestroy(), 50));
    });
    expect(error.message).toContain('cut the connection');
    expect([end.reason, failure.status, failure.code]).toEqual(['cut', 502, 'PUBLISHER_SOURCE_CLOSED']);
  });

  it('because it ends as if it were complete says so', async () => {
    const { error, end } = await ending((_, response) => void response.end(recording));
    expect(error.message).toContain('ended its stream');
    expect(end.reason).toBe('ended');
  });

  it('because no byte comes any more is closed after stallTimeoutMs', async () => {
    const begun = performance.now();
    const { error, end } = await ending(live, { stallTimeoutMs: 300 });
    expect(error.message).toContain('stalled: no byte for 300 ms (stallTimeoutMs)');
    expect(end.reason).toBe('stalled');
    expect(performance.now() - begun).toBeGreaterThan(300);
  });
});

describe('an http source that does not start', () => {
  it('because nothing answers there is 502, and tells what to look at', async () => {
    const { url, server } = await serve(live);
    server.close();
    const { status, code, detail } = await failure(open(url));
    expect([status, code]).toEqual([502, 'PUBLISHER_SOURCE_UNREACHABLE']);
    expect(detail).toContain('the connection was refused (ECONNREFUSED)');
  });

  it('because its name is unknown is 502', async () => {
    const { status, detail } = await failure(open('http://nowhere.invalid/live.ts'));
    expect([status, detail]).toEqual([502, expect.stringMatching(/^nowhere.invalid can't be reached: /)]);
  });

  it('because it does not answer, or gives nothing, is 504 within startTimeoutMs, and is closed', async () => {
    const silent = await serve(() => {});
    const mute = await serve((_, response) => response.flushHeaders());
    const terms = { startTimeoutMs: 300 };
    expect(await failure(open(silent.url, terms))).toMatchObject({
      status: 504,
      detail: expect.stringContaining('did not answer within 300 ms'),
    });
    expect(await failure(open(mute.url, terms))).toMatchObject({
      status: 504,
      detail: expect.stringContaining('answered, but gave no stream'),
    });
    await eventually(() => expect(silent.connections.size + mute.connections.size).toBe(0));
  });

  it('because it is cut before its answer is 502', async () => {
    const { url } = await serve((request) => void request.socket.resetAndDestroy());
    expect(await failure(open(url))).toMatchObject({ status: 502, code: 'PUBLISHER_SOURCE_CLOSED' });
  });

  it.each([
    ['503 805', 503, '805 All Tuners In Use', 'HDHOMERUN_ALL_TUNERS_IN_USE'],
    ['503 804', 503, '804 Tuner In Use', 'HDHOMERUN_TUNER_IN_USE'],
    ['503 806', 503, '806 Tune Failed', 'HDHOMERUN_TUNE_FAILED'],
    ['403 811', 403, '811 Content Protection Required', 'HDHOMERUN_CONTENT_PROTECTED'],
    ['500', 500, undefined, 'HDHOMERUN_DEVICE'],
  ])('because a device refuses (%s) has the error of the device', async (_, status, said, code) => {
    const { url } = await serve((_request, response) => {
      response.writeHead(status, said === undefined ? {} : { 'X-HDHomeRun-Error': said }).end();
    });
    expect(await failure(open(url))).toMatchObject({
      code,
      deviceError: said,
      detail: expect.stringContaining(`answered ${status}`),
    });
  });

  it.each([
    ['a page', { 'Content-Type': 'text/html' }, '<html><body>Please log in'],
    ['a page without a type', {}, ' \n<!DOCTYPE html><html>'],
    ['a JSON document', { 'Content-Type': 'application/json' }, '{"error":"no"}'],
  ])(
    'because %s with status 200 is there is 502 with its begin, and no ffmpeg is started',
    async (_, headers, body) => {
      const { url } = await serve((_request, response) => void response.writeHead(200, headers).end(body));
      const { status, code, detail } = await failure(open(url));
      expect([status, code]).toEqual([502, 'PUBLISHER_NOT_A_STREAM']);
      expect(detail).toContain(JSON.stringify(body.trim()).slice(1, 15));
    },
  );
});

describe('redirects', () => {
  const to =
    (location: string): RequestListener =>
    (_, response) =>
      void response.writeHead(302, { Location: location }).end();

  it('are followed, also to another host, which is not told what opens the first', async () => {
    const asked: (string | undefined)[] = [];
    const target = await serve((request, response) => {
      asked.push(request.headers.authorization);
      live(request, response);
    });
    const first = await serve((request, response) => {
      asked.push(request.headers.authorization);
      to(request.url === '/a' ? '/b' : `${target.url}/live.ts`)(request, response);
    });
    await using source = await open(`http://me:se%2Fcret@${first.host}/a`);
    await read(source, 1_000);
    const basic = `Basic ${Buffer.from('me:se/cret').toString('base64')}`;
    expect(asked).toEqual([basic, basic, undefined]);
    expect(first.connections.size).toBe(0);
  });

  it('in a circle, too many, or to nowhere that can be read are 502 with the address', async () => {
    const other = await serve((_, response) => void response.writeHead(302, { Location: `${circle.url}/a` }).end());
    const circle = await serve(to(`${other.url}/b`));
    expect(await failure(open(`${circle.url}/a`))).toMatchObject({
      status: 502,
      code: 'PUBLISHER_REDIRECT',
      detail: expect.stringContaining('in a circle'),
    });
    let count = 0;
    const endless = await serve((request, response) => to(`/${++count}`)(request, response));
    expect((await failure(open(endless.url))).detail).toContain('more than 5 times');
    expect(count).toBe(6);
    const file = await serve(to('file:///etc/passwd'));
    expect((await failure(open(file.url))).detail).toContain('redirects to file:///etc/passwd');
  });
});

describe('what is no MPEG-TS in sync', () => {
  const gone = async (connections: Set<Socket>) => eventually(() => expect(connections.size).toBe(0));

  it('goes to ffmpeg: an HLS playlist', async () => {
    const { url, connections } = await serve((request, response) => {
      if (request.url === '/recording.ts') response.end(recording);
      else {
        response.setHeader('Content-Type', 'application/vnd.apple.mpegurl');
        response.end('#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nrecording.ts\n#EXT-X-ENDLIST\n');
      }
    });
    await using source = await open(`${url}/live.m3u8`, { ffmpeg: findFfmpeg });
    expect(source).toMatchObject({ name: 'ffmpeg' });
    expect((await read(source, 10_000))[0]).toBe(0x47);
    await source[Symbol.asyncDispose]();
    await gone(connections);
  });

  it('goes to ffmpeg: a Matroska file', async () => {
    await makeFile(join(folder, 'film.mkv'), '-c:v', 'libx264', '-c:a', 'aac');
    const { url } = await serve((_, response) => void response.end(readFileSync(join(folder, 'film.mkv'))));
    await using source = await open(`${url}/film.mkv`, { ffmpeg: findFfmpeg });
    expect(source).toMatchObject({ name: 'ffmpeg' });
    expect((await read(source, 1_000))[0]).toBe(0x47);
  });

  it.each([
    ['192 bytes, with the time before each', 4, 0],
    ['204 bytes, with parity after each', 0, 16],
  ])('goes to ffmpeg: packets of %s', async (_, before, after) => {
    const packets: Buffer[] = [];
    for (let at = 0; at + 188 <= recording.length; at += 188) {
      packets.push(Buffer.alloc(before), recording.subarray(at, at + 188), Buffer.alloc(after));
    }
    const { url } = await serve((_request, response) => void response.write(Buffer.concat(packets)));
    await using source = await open(url, { ffmpeg: findFfmpeg });
    expect(source).toMatchObject({ name: 'ffmpeg' });
    expect((await read(source, 1_000))[0]).toBe(0x47);
  });

  it('goes to ffmpeg, whose words tell what is wrong: garbage, and what speaks no HTTP', async () => {
    const garbage = await serve((_, response) => void response.end(Buffer.alloc(50_000, 'garbage')));
    expect(await failure(open(garbage.url, { ffmpeg: findFfmpeg }))).toMatchObject({
      status: 502,
      code: 'HOLDFAST_CHILD_EXIT',
    });
    const chatty = createTcpServer((socket) => socket.on('error', () => {}).end('SSH-2.0-OpenSSH_9.6\r\n')).listen(
      0,
      '127.0.0.1',
    );
    onTestFinished(() => void chatty.close());
    await once(chatty, 'listening');
    const url = `http://127.0.0.1:${(chatty.address() as AddressInfo).port}/`;
    expect(await failure(open(url, { ffmpeg: findFfmpeg }))).toMatchObject({
      status: 502,
      code: 'HOLDFAST_CHILD_EXIT',
    });
  });

  it('is no use without ffmpeg, and says how to get one', async () => {
    const { url } = await serve((_, response) => void response.end('#EXTM3U\n'));
    const missing = () => findFfmpeg({ env: { FFMPEG_PATH: '/nowhere/ffmpeg' } });
    expect(await failure(open(url, { ffmpeg: missing }))).toMatchObject({
      status: 502,
      detail: expect.stringContaining('which does not exist'),
    });
  });
});
