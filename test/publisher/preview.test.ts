import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findFfmpeg, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, PublisherProcess, pidsOfChildren, processesWith, timed, Viewer } from './support.ts';

const lockDir = temporaryDirectory(afterAll);
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;
const slowDir = temporaryDirectory(afterAll);
let onSlowHost: Promise<readonly number[]>;

beforeAll(async () => {
  onSlowHost = statusesOnSlowHost();
  onSlowHost.catch(() => {});
  simulator = await HdhomerunSimulator.start({ tuners: 4 });
  publisher = await PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir]);
});

afterAll(async () => {
  await onSlowHost.catch(() => {});
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

afterEach(async () => {
  await eventually(() => expect(simulator.streams()).toBe(0), promisedMs(10_000));
});

const preview = (id: string) => `${publisher.url}/channels/${id}/preview.jpg`;
const makers = () => {
  const all = processesWith('scale=320:-2');
  return pidsOfChildren(publisher.pid).filter((pid) => all.includes(pid));
};

function pictureAt(id: string): Promise<{ bytes: Buffer; headers: Headers }> {
  return eventually(async () => {
    const response = await fetch(preview(id));
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(response.status).toBe(200);
    return { bytes, headers: response.headers };
  }, patienceMs(20_000));
}

/**
 * Of the pictures of three channels, where each takes six seconds and two are made at a time. It goes on beside the tests,
 * which it does not disturb.
 */
async function statusesOnSlowHost(): Promise<readonly number[]> {
  const slow = join(slowDir, 'ffmpeg');
  const script = `#!/bin/sh\ncase "$*" in *scale=320:-2*) sleep 6 ;; esac\nexec ${findFfmpeg()} "$@"\n`;
  writeFileSync(slow, script, { mode: 0o755 });
  await using device = await HdhomerunSimulator.start({ tuners: 3, encoding: 'shared' });
  const args = ['--device', device.url, '--lock-dir', slowDir, '--state-dir', join(slowDir, 'state')];
  await using weak = await PublisherProcess.start(args, { FFMPEG_PATH: slow });
  const ids = ['5.1', '7.1', '9.1'];
  const viewers = await Promise.all(ids.map((id) => Viewer.open(`${weak.url}/channels/${id}.ts`)));
  await Promise.all(viewers.map((viewer) => viewer.more()));
  const has = (id: string) => fetch(`${weak.url}/channels/${id}/preview.jpg`).then(({ status }) => status);
  const statuses = await eventually(async () => {
    const statuses = await Promise.all(ids.map(has));
    expect(statuses).toEqual([200, 200, 200]);
    return statuses;
  }, patienceMs(25_000));
  for (const viewer of viewers) viewer.leave();
  return statuses;
}

/** By the real ffmpeg. */
function sizeOf(jpeg: Buffer): string | undefined {
  const { stderr } = spawnSync(findFfmpeg(), ['-hide_banner', '-f', 'mjpeg', '-i', 'pipe:0', '-f', 'null', '-'], {
    input: jpeg,
    encoding: 'utf8',
  });
  return /Video: mjpeg.* (\d+x\d+)/.exec(stderr)?.[1];
}

describe('the preview of a channel', () => {
  it('is a small JPEG of what is watched, and not made again for who has it', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    const { bytes, headers } = await pictureAt('5.1');
    expect(await publisher.channel('5.1')).toMatchObject({ preview: '/channels/5.1/preview.jpg' });
    expect(await publisher.channel('9.1')).toMatchObject({ preview: null });
    expect(sizeOf(bytes)).toBe('320x180');
    expect([headers.get('content-type'), headers.get('cache-control')]).toEqual(['image/jpeg', 'no-cache']);
    expect(Number(headers.get('age'))).toBeLessThan(10);
    const again = await fetch(preview('5.1'), { headers: { 'If-None-Match': headers.get('etag') as string } });
    expect(again.status).toBe(304);
    await throughout(1_000, () => expect(makers()).toEqual([]));
    expect((await fetch(preview('5.1'))).headers.get('etag')).toBe(headers.get('etag'));
  });

  it('opens no source, and there is none of a channel that nobody watches', async () => {
    const opens = simulator.opens();
    for (let asked = 0; asked < 3; asked++) expect((await fetch(preview('9.1'))).status).toBe(204);
    expect(simulator.opens()).toBe(opens);
    expect(makers()).toEqual([]);
  });

  it('keeps no tuner when the last viewer leaves while it is made', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/7.1.ts`);
    await viewer.more();
    expect((await fetch(preview('7.1'))).status).toBe(204);
    viewer.leave();
    const elapsedMs = await timed(250, () => expect(simulator.streams()).toBe(0));
    console.log(`last viewer to tuner free, with a preview being made: ${elapsedMs} ms`);
    expect((await fetch(preview('7.1'))).status).toBe(204);
  });

  it('is made by two processes at most, whatever is watched', async () => {
    const ids = ['5.1', '7.1', '9.1'];
    const viewers = await Promise.all(ids.map((id) => Viewer.open(`${publisher.url}/channels/${id}.ts`)));
    await Promise.all(viewers.map((viewer) => viewer.more()));
    let most = 0;
    const watching = setInterval(() => {
      most = Math.max(most, makers().length);
    }, 5);
    const pictures = await Promise.all(ids.map(pictureAt));
    clearInterval(watching);
    expect(most).toBeLessThanOrEqual(2);
    expect(new Set(pictures.map(({ bytes }) => bytes.toString('base64'))).size).toBe(3);
    for (const viewer of viewers) viewer.leave();
  });

  it('is 404 for an unknown channel', async () => {
    expect((await ask(preview('99.1'))).json).toMatchObject({ status: 404, title: 'Unknown channel' });
  });

  it('is off if it is configured so', async () => {
    const stateDir = temporaryDirectory();
    await using off = await PublisherProcess.start([
      '--device',
      simulator.url,
      '--lock-dir',
      lockDir,
      '--state-dir',
      stateDir,
      '--no-preview',
    ]);
    const { status, json } = await ask(`${off.url}/channels/5.1/preview.jpg`);
    expect([status, json.title, json.detail]).toEqual([404, 'No preview', 'previews are off (preview)']);
  });

  it('is made of each in turn on a slow host: the time that one waits for the others is not its own', async () => {
    await expect(onSlowHost).resolves.toEqual([200, 200, 200]);
  });
});
