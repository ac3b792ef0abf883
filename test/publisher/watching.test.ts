import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream, picturesIn } from '../support/transport-stream.ts';
import { ask, type Json, PublisherProcess, processesWith, streamsOf, timed, Viewer } from './support.ts';

const lockDir = temporaryDirectory(afterAll);
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start();
  publisher = await PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir]);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

afterEach(async () => {
  simulator.heal();
  await eventually(async () => {
    expect(simulator.streams()).toBe(0);
    expect((await publisher.json('/api/channels')).channels.every(({ state }: Json) => state === 'idle')).toBe(true);
  });
});

const channelUrl = (id: string) => `${publisher.url}/channels/${id}.ts`;
/** ffmpeg of the publisher, not of the simulator. */
const encoders = () => processesWith(new URL(simulator.url).host).filter((pid) => pid !== publisher.pid);

describe('a channel of a device', () => {
  it('has video and audio for ffprobe', async () => {
    expect(await streamsOf(channelUrl('5.1'))).toEqual(['audio', 'video']);
  });

  it('is MPEG-TS that is not cached, and its first byte comes soon', async () => {
    const begun = performance.now();
    using viewer = await Viewer.open(channelUrl('5.1'));
    await viewer.more(188);
    console.log(`start to first byte: ${Math.round(performance.now() - begun)} ms`);
    expect(viewer.status).toBe(200);
    expect(viewer.headers).toMatchObject({ 'content-type': 'video/mp2t', 'cache-control': 'no-store' });
  });

  it('is read once from the tuner for 50 viewers who arrive at once', async () => {
    const opens = simulator.opens('7.1');
    const viewers = await Promise.all(Array.from({ length: 50 }, () => Viewer.open(channelUrl('7.1'))));
    await Promise.all(viewers.map((viewer) => viewer.more()));
    expect(simulator.opens('7.1') - opens).toBe(1);
    expect(simulator.streams()).toBe(1);
    expect(await publisher.channel('7.1')).toMatchObject({ state: 'live', viewers: 50 });
    for (const viewer of viewers) viewer.leave();
  });

  it('comes at once for the second viewer', async () => {
    using first = await Viewer.open(channelUrl('5.1'));
    await first.more();
    const begun = performance.now();
    using second = await Viewer.open(channelUrl('5.1'));
    await second.more(188);
    const elapsedMs = Math.round(performance.now() - begun);
    console.log(`second viewer to first byte: ${elapsedMs} ms`);
    expect(elapsedMs).toBeLessThan(promisedMs(500));
  });

  it('shows the second viewer a picture of the first bytes it gets, and loses none after them', async () => {
    using first = await Viewer.open(channelUrl('5.1'));
    await first.more(150_000);
    using second = await Viewer.open(channelUrl('5.1'), { keep: true });
    await second.more(188);
    const begin = Buffer.concat(second.chunks);
    await second.more(150_000);
    const bytes = Buffer.concat(second.chunks);
    expect([bytes[0], bytes.readUInt16BE(1) & 0x1fff]).toEqual([0x47, 0]);
    expect(inspectTransportStream(bytes)).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
    expect(picturesIn(begin)).toBeGreaterThan(0);
  });

  it('is read without ffmpeg, and its tuner is free within 250 ms of the last viewer', async () => {
    const viewers = [await Viewer.open(channelUrl('5.1')), await Viewer.open(channelUrl('5.1'))];
    await Promise.all(viewers.map((viewer) => viewer.more()));
    viewers[0]?.leave();
    await viewers[1]?.more();
    expect(simulator.streams('5.1')).toBe(1);
    expect(encoders()).toEqual([]);
    viewers[1]?.leave();
    const elapsedMs = await timed(250, () => {
      expect(simulator.streams()).toBe(0);
      expect(encoders()).toEqual([]);
    });
    console.log(`last viewer to tuner free: ${elapsedMs} ms`);
  });

  it('opens nothing for HEAD', async () => {
    const opens = simulator.opens();
    const { status, headers } = await ask(channelUrl('5.1'), { method: 'HEAD' });
    expect([status, headers.get('content-type')]).toEqual([200, 'video/mp2t']);
    expect(simulator.opens()).toBe(opens);
  });

  it('is closed cleanly when its viewer leaves during the start', async () => {
    simulator.misbehave({ fault: 'slow-start', channel: '9.1', afterMs: 5_000, times: 1 });
    const leaving = new AbortController();
    const watching = fetch(channelUrl('9.1'), { signal: leaving.signal }).catch((error) => error.name);
    await eventually(() => expect(simulator.streams('9.1')).toBe(1));
    leaving.abort();
    const elapsedMs = await timed(250, () => {
      expect(simulator.streams()).toBe(0);
      expect(encoders()).toEqual([]);
    });
    console.log(`viewer left during the start, tuner free: ${elapsedMs} ms`);
    expect(await watching).toBe('AbortError');
    await eventually(async () =>
      expect(await publisher.channel('9.1')).toMatchObject({ state: 'idle', lastError: null }),
    );
    expect(publisher.output).not.toMatch(/9\.1.*(WARN|could not)/);
  });

  it('opens again after a viewer left during the start', async () => {
    using viewer = await Viewer.open(channelUrl('9.1'));
    await viewer.more();
    expect(viewer.status).toBe(200);
  });
});

describe('the API', () => {
  it('answers 404 for an unknown channel and says so in JSON', async () => {
    for (const path of ['/channels/99.1.ts', '/channels/5.1', '/channels/..%2f..%2fetc.ts', '/channels/a%20b.ts']) {
      const { status, headers, json } = await ask(publisher.url + path);
      expect([path, status, headers.get('content-type')]).toEqual([path, 404, 'application/problem+json']);
      expect(json).toMatchObject({ status: 404, title: 'Unknown channel', known: ['5.1', '7.1', '9.1'] });
    }
  });

  it('answers 404 for other paths and 405 for other methods', async () => {
    expect((await ask(`${publisher.url}/etc/passwd`)).status).toBe(404);
    expect((await ask(`${publisher.url}/assets/..%2fmain.ts`)).status).toBe(404);
    const posted = await ask(channelUrl('5.1'), { method: 'POST' });
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  it('shows a channel with its viewers and who holds its source', async () => {
    expect(await publisher.channel('5.1')).toMatchObject({ state: 'idle', viewers: 0, holder: null, available: true });
    using viewer = await Viewer.open(channelUrl('5.1'));
    await viewer.more();
    const { now, demo } = await publisher.json('/api/channels');
    const channel = await publisher.channel('5.1');
    expect(demo).toBe(false);
    expect(Math.abs(Date.now() - Date.parse(now))).toBeLessThan(5_000);
    expect(channel).toMatchObject({ name: 'Harbour News', number: '5.1', url: '/channels/5.1.ts', state: 'live' });
    expect(channel).toMatchObject({ viewers: 1, source: simulator.streamUrl('5.1'), lastError: null });
    expect(channel.holder).toMatchObject({ pid: publisher.pid, key: `url:${simulator.source('5.1')}` });
    expect(channel.holder.children).toBeUndefined();
    expect(Date.parse(channel.liveSince)).toBeLessThanOrEqual(Date.now());
    expect(channel.bytesOut).toBeGreaterThan(0);
  });

  it('lists public streams with their time to live', async () => {
    const { streams } = await publisher.json('/api/public-streams');
    expect(streams.map(({ id, name }: Json) => [id, name])).toEqual([
      ['5.1', 'Harbour News'],
      ['7.1', 'Granite Sport'],
      ['9.1', 'Evening Film'],
    ]);
    for (const { url, id, available, stale, updatedAt, expiresAt } of streams) {
      expect({ url, available, stale }).toEqual({ url: channelUrl(id), available: true, stale: false });
      expect(Date.parse(expiresAt) - Date.parse(updatedAt)).toBe(30_000);
    }
  });

  it('shows devices with what their tuners do', async () => {
    using viewer = await Viewer.open(channelUrl('5.1'));
    await viewer.more();
    await eventually(async () => {
      const { devices } = await publisher.json('/api/tuners');
      expect(devices).toMatchObject([{ id: simulator.deviceId, reachable: true, lastError: null, channels: 3 }]);
      const inUse = { inUse: true, channelNumber: '5.1', channelName: 'Harbour News', targetIp: '127.0.0.1' };
      expect(devices[0].tuners).toMatchObject([inUse, { resource: 'tuner1', inUse: false, channelNumber: null }]);
    });
  });

  it('shows locks, health, readiness and metrics', async () => {
    using viewer = await Viewer.open(channelUrl('5.1'));
    await viewer.more();
    const { locks } = await publisher.json('/api/locks');
    expect(locks.map(({ key }: Json) => key)).toContain(`url:${simulator.source('5.1')}`);
    expect(await publisher.json('/healthz')).toEqual({ status: 'ok' });
    expect(await ask(`${publisher.url}/readyz`)).toMatchObject({ status: 200, json: { ready: true, reasons: [] } });
    const { text } = await ask(`${publisher.url}/metrics`);
    expect(text).toContain('holdfast_fanout_subscribers{name="5.1"} 1');
    expect(text).toContain('publisher_channels{availability="available"} 3');
  });

  it('is alive and not ready as long as it knows no channel', async () => {
    await using other = await PublisherProcess.start(['--device', '127.0.0.1:9', '--lock-dir', temporaryDirectory()]);
    const ready = await ask(`${other.url}/readyz`);
    expect([ready.status, ready.json.reasons]).toEqual([503, ['no channel is known yet']]);
    expect((await ask(`${other.url}/healthz`)).status).toBe(200);
  });

  it('serves the dashboard and its player with security headers', async () => {
    for (const [path, type] of [
      ['/', 'text/html'],
      ['/assets/mpegts.js', 'text/javascript'],
    ] as const) {
      const { status, headers, text } = await ask(publisher.url + path);
      expect([path, status, headers.get('content-type')?.split(';')[0]]).toEqual([path, 200, type]);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('content-security-policy')).toContain("media-src 'self' blob:");
      expect(text.length).toBeGreaterThan(100);
    }
  });
});
