import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findFfmpeg, findFfprobe, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream, picturesIn } from '../support/transport-stream.ts';
import { ask, makeRecording, PublisherProcess, pidsOfChildren, processesWith, timed, Viewer } from './support.ts';

const run = promisify(execFile);
const folder = temporaryDirectory(afterAll);
const interlaced = join(folder, 'interlaced.ts');
/** Of so many megabits that a slow reader is behind at once. */
const fat = join(folder, 'fat.ts');
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;

beforeAll(async () => {
  [simulator] = await Promise.all([
    HdhomerunSimulator.start({ encoding: 'shared' }),
    makeInterlaced(interlaced),
    makeRecording(fat, 20),
  ]);
  publisher = await publish('--restart-cooldown-ms', '0', '--channel', '9.1={"profile":"low"}');
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

afterEach(async () => {
  simulator.heal();
  await eventually(() => {
    expect(simulator.streams()).toBe(0);
    expect(encodersOf(publisher)).toEqual([]);
  });
});

async function publish(...flags: string[]): Promise<PublisherProcess> {
  const args = ['--device', simulator.url, '--source', `tape=${interlaced}`, '--source', `fat=${fat}`];
  const own = mkdtempSync(join(folder, 'publisher-'));
  const dirs = ['--lock-dir', join(own, 'locks'), '--state-dir', join(own, 'state')];
  const publisher = await PublisherProcess.start([...args, ...dirs, ...flags]);
  await publisher.says(/3 channels/);
  return publisher;
}

/** Two fields of different times in each picture, as television has them, with pixels that are not square. */
async function makeInterlaced(path: string): Promise<void> {
  const picture =
    'testsrc2=size=720x576:rate=50,scroll=horizontal=0.01,tinterlace=interleave_top,setsar=64/45,setfield=tff';
  const video = ['-c:v', 'mpeg2video', '-flags', '+ildct+ilme', '-top', '1', '-g', '12', '-b:v', '4M'];
  const input = ['-f', 'lavfi', '-i', picture, '-f', 'lavfi', '-i', 'sine=sample_rate=44100'];
  await run(findFfmpeg(), ['-v', 'error', '-y', ...input, ...video, '-c:a', 'mp2', '-t', '4', '-f', 'mpegts', path]);
}

/** ffmpeg of the publisher that encode, and not those that copy. */
function encodersOf({ pid }: PublisherProcess): number[] {
  const encoding = processesWith('\0aac\0');
  return pidsOfChildren(pid).filter((child) => encoding.includes(child));
}

const urlOf = (id: string, profile: string) => `${publisher.url}/channels/${id}.ts?profile=${profile}`;

/** What ffprobe finds in so much of a stream. */
async function probed(url: string, bytes = 200_000) {
  const path = await recorded(url, bytes);
  const entries = 'stream=codec_type,codec_name,pix_fmt,width,height,field_order,channels,sample_aspect_ratio';
  const args = ['-v', 'error', '-show_entries', entries, '-of', 'json', path];
  const { stdout } = await run(findFfprobe(), args, { env: { ...process.env, GCONV_PATH: '/nonexistent' } });
  const { streams } = JSON.parse(stdout);
  const find = (type: string) => streams.find(({ codec_type }: { codec_type: string }) => codec_type === type);
  return { video: find('video'), audio: find('audio'), path };
}

let recordings = 0;
async function recorded(url: string, bytes: number): Promise<string> {
  using viewer = await Viewer.open(url, { keep: true });
  await viewer.more(bytes, patienceMs(30_000));
  const path = join(folder, `recorded-${++recordings}.ts`);
  writeFileSync(path, Buffer.concat(viewer.chunks));
  return path;
}

/** How many pictures of a recording show two times at once, and how many one. */
async function fieldsIn(path: string): Promise<{ interlaced: number; progressive: number }> {
  const { stderr } = await run(findFfmpeg(), ['-nostdin', '-i', path, '-vf', 'idet', '-an', '-f', 'null', '-']);
  const summary = /Multi frame detection: TFF:\s*(\d+) BFF:\s*(\d+) Progressive:\s*(\d+)/g;
  const [, top, bottom, progressive] = [...stderr.matchAll(summary)].at(-1) ?? [];
  return { interlaced: Number(top) + Number(bottom), progressive: Number(progressive) };
}

describe('a rendition', () => {
  it.each([
    ['web', 576],
    ['sd', 480],
    ['low', 360],
    ['tiny', 240],
  ])('%s is H.264 in yuv420p of %d lines at most, in its shape, and AAC', async (profile, height) => {
    const { video, audio } = await probed(urlOf('tape', profile), 100_000);
    expect(video).toMatchObject({ codec_name: 'h264', pix_fmt: 'yuv420p', height, field_order: 'progressive' });
    const [across = 1, down = 1] = video.sample_aspect_ratio.split(':').map(Number);
    expect((video.width * across) / (video.height * down)).toBeCloseTo(16 / 9, 1);
    expect(audio).toMatchObject({ codec_name: 'aac', channels: 2 });
  });

  it('audio has sound alone', async () => {
    const { video, audio } = await probed(urlOf('5.1', 'audio'), 20_000);
    expect([video, audio.codec_name]).toEqual([undefined, 'aac']);
  });

  it('copy, and none, is the stream as it comes', async () => {
    const { video } = await probed(urlOf('tape', 'copy'));
    expect(video).toMatchObject({ codec_name: 'mpeg2video', height: 576, field_order: 'tt' });
  });

  it('is deinterlaced, unless deinterlace says not to', async () => {
    const config = join(folder, 'woven.json');
    writeFileSync(config, JSON.stringify({ deinterlace: false }));
    await using woven = await publish('--config', config);
    const urls = [urlOf('tape', 'web'), `${woven.url}/channels/tape.ts?profile=web`];
    const [fields, as] = await Promise.all(urls.map(async (url) => fieldsIn(await recorded(url, 900_000))));
    expect(fields?.progressive).toBeGreaterThan(10 * (fields?.interlaced ?? 0));
    expect(as?.interlaced).toBeGreaterThan(10 * (as?.progressive ?? 0));
  });

  it('has a key frame in every second', async () => {
    const path = await recorded(urlOf('tape', 'low'), 250_000);
    const args = [
      '-v',
      'error',
      '-select_streams',
      'v',
      '-show_entries',
      'packet=pts_time,flags',
      '-of',
      'csv=p=0',
      path,
    ];
    const { stdout } = await run(findFfprobe(), args, { env: { ...process.env, GCONV_PATH: '/nonexistent' } });
    const keys = stdout
      .split('\n')
      .filter((line) => /,K/.test(line))
      .map(Number.parseFloat);
    const gaps = keys.slice(1).map((at, index) => at - (keys[index] as number));
    expect(gaps.length).toBeGreaterThanOrEqual(2);
    expect(Math.max(...gaps)).toBeLessThan(1.1);
  });

  it('is encoded once however many watch it, and each profile once more; the tuner is read once', async () => {
    const opens = simulator.opens('7.1');
    const viewers = await Promise.all(
      ['web', 'web', 'web', 'low', 'low', 'copy'].map((profile) => Viewer.open(urlOf('7.1', profile))),
    );
    await Promise.all(viewers.map((viewer) => viewer.more(20_000, patienceMs(30_000))));
    expect(encodersOf(publisher)).toHaveLength(2);
    expect([simulator.opens('7.1') - opens, simulator.streams()]).toEqual([1, 1]);
    viewers[0]?.leave();
    viewers[1]?.leave();
    await viewers[2]?.more(20_000);
    expect(encodersOf(publisher)).toHaveLength(2);
    for (const viewer of viewers) viewer.leave();
  });

  it('shows one who comes late a picture at once, without a gap', async () => {
    using first = await Viewer.open(urlOf('5.1', 'web'));
    await first.more(100_000, patienceMs(30_000));
    using second = await Viewer.open(urlOf('5.1', 'web'), { keep: true });
    await second.more(188);
    await second.more(100_000);
    const bytes = Buffer.concat(second.chunks);
    expect(inspectTransportStream(bytes)).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
    expect(picturesIn(bytes)).toBeGreaterThan(10);
  });

  it('ends with its last viewer: ffmpeg is gone and the tuner free within 250 ms', async () => {
    const viewers = [await Viewer.open(urlOf('5.1', 'web')), await Viewer.open(urlOf('5.1', 'web'))];
    await Promise.all(viewers.map((viewer) => viewer.more(20_000, patienceMs(30_000))));
    viewers[0]?.leave();
    await viewers[1]?.more();
    viewers[1]?.leave();
    const elapsedMs = await timed(250, () => {
      expect(encodersOf(publisher)).toEqual([]);
      expect(simulator.streams()).toBe(0);
    });
    console.log(`last viewer of a rendition to ffmpeg gone and tuner free: ${elapsedMs} ms`);
  });

  it('starts nothing for HEAD', async () => {
    const opens = simulator.opens();
    const { status, headers } = await ask(urlOf('5.1', 'web'), { method: 'HEAD' });
    expect([status, headers.get('content-type')]).toEqual([200, 'video/mp2t']);
    expect([simulator.opens(), encodersOf(publisher)]).toEqual([opens, []]);
  });

  it('that there is not is 404 with those that there are', async () => {
    const { status, json } = await ask(urlOf('5.1', 'cinema'));
    expect([status, json.title]).toEqual([404, 'Unknown profile']);
    expect(json.known).toEqual(['copy', 'web', 'sd', 'low', 'tiny', 'audio']);
  });

  it('is what a channel gives whose override names its profile', async () => {
    const { video } = await probed(`${publisher.url}/channels/9.1.ts`, 60_000);
    expect([video.codec_name, video.height]).toEqual(['h264', 270]);
    const plain = await probed(urlOf('9.1', 'copy'));
    expect([plain.video.codec_name, encodersOf(publisher)]).toEqual(['h264', []]);
  });
});

describe('a rendition of a channel that fails', () => {
  it('is told what the channel is: no tuner is 503 with 805, and no ffmpeg is started', async () => {
    using _first = simulator.occupy(0);
    using _second = simulator.occupy(1);
    const { status, headers, json } = await ask(urlOf('9.1', 'web'));
    expect([status, json.code]).toEqual([503, 'PUBLISHER_NO_TUNER']);
    expect(headers.get('x-hdhomerun-error')).toBe('805 All Tuners In Use');
    expect(encodersOf(publisher)).toEqual([]);
  });

  it('goes on with the next source, and its viewers stay: its timeline does not go back', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/9.1.ts?profile=low`, { keep: true });
    await viewer.more(60_000, patienceMs(30_000));
    simulator.misbehave({ fault: 'cut', channel: '9.1', times: 1 });
    await publisher.says(/channel 9\.1: .*cut the connection/);
    await viewer.more(150_000, patienceMs(30_000));
    expect(viewer.isGone).toBe(false);
    const path = join(folder, 'switched.ts');
    writeFileSync(path, Buffer.concat(viewer.chunks));
    const args = ['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=dts_time', '-of', 'csv=p=0', path];
    const { stdout } = await run(findFfprobe(), args, { env: { ...process.env, GCONV_PATH: '/nonexistent' } });
    const times = stdout.split('\n').map(Number.parseFloat).filter(Number.isFinite);
    const steps = times.slice(1).map((at, index) => at - (times[index] as number));
    expect(Math.min(...steps)).toBeGreaterThan(0);
    expect(Math.max(...steps)).toBeLessThan(30);
    viewer.leave();
    await eventually(() => expect(encodersOf(publisher)).toEqual([]));
  });
});

describe('a rendition whose ffmpeg', () => {
  it('dies is encoded anew, and its viewers and those of the channel stay', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts?profile=low`);
    using plain = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more(20_000, patienceMs(30_000));
    const [pid] = encodersOf(publisher);
    process.kill(pid as number, 'SIGKILL');
    await publisher.says(/channel 5\.1\/low: .*ffmpeg ended by SIGKILL/);
    await viewer.more(100_000, patienceMs(30_000));
    expect([viewer.isGone, plain.isGone, encodersOf(publisher).includes(pid as number)]).toEqual([false, false, false]);
  });

  it('is too slow holds up nobody: the others lose nothing, and what it can not take is left out', async () => {
    using viewer = await Viewer.open(urlOf('fat', 'low'));
    using plain = await Viewer.open(urlOf('fat', 'copy'), { keep: true });
    await viewer.more(20_000, patienceMs(30_000));
    const [pid] = encodersOf(publisher);
    process.kill(pid as number, 'SIGSTOP');
    await plain.more(6_000_000, patienceMs(60_000));
    process.kill(pid as number, 'SIGCONT');
    expect(inspectTransportStream(Buffer.concat(plain.chunks)).syncErrors).toBe(0);
    await viewer.more(100_000, patienceMs(30_000));
    expect(viewer.isGone).toBe(false);
  });

  it('is not there is 502 that tells how to get one, and the channel is watched as it comes', async () => {
    const args = ['--device', simulator.url, '--lock-dir', temporaryDirectory(), '--state-dir', temporaryDirectory()];
    const env = { FFMPEG_PATH: '/nowhere/ffmpeg' };
    await using bare = await PublisherProcess.start([...args, '--discovery', 'off'], env);
    await bare.says(/3 channels/);
    const opens = simulator.opens();
    const { status, json } = await ask(`${bare.url}/channels/5.1.ts?profile=web`);
    expect([status, json.title]).toEqual([502, 'ffmpeg could not be started']);
    expect(json.detail).toContain('FFMPEG_PATH names /nowhere/ffmpeg, which does not exist');
    expect(simulator.opens()).toBe(opens);
    using viewer = await Viewer.open(`${bare.url}/channels/5.1.ts`);
    await viewer.more();
  });
});

describe('renditions', () => {
  it('take a place of the pool: one more than there are is 503', async () => {
    const start = ['--start-timeout-ms', String(promisedMs(2_000))];
    await using narrow = await publish('--max-processes', '1', ...start);
    using viewer = await Viewer.open(`${narrow.url}/channels/5.1.ts?profile=low`);
    await viewer.more(20_000, patienceMs(30_000));
    const { status, json } = await ask(`${narrow.url}/channels/5.1.ts?profile=tiny`);
    expect([status, json.code]).toEqual([503, 'PUBLISHER_FULL']);
    expect(json.detail).toContain('--max-processes');
    await throughout(200, () => expect(viewer.isGone).toBe(false));
  });
});
