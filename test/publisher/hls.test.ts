import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findFfmpeg, type HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { contentViolationsOf, violationsOf } from '../support/hls-rules.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { HlsPlayer, quickSimulator } from './hls-support.ts';
import { type Answer, ask, PublisherProcess, streamsOf, timed, Viewer } from './support.ts';

/** With segments of half a second three target durations are not more. */
const IDLE_MS = 3_000;
const lockDir = temporaryDirectory(afterAll);
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;
const players: HlsPlayer[] = [];

beforeAll(async () => {
  simulator = await quickSimulator();
  const times = ['--hls-idle-ms', String(IDLE_MS), '--restart-cooldown-ms', '500', '--stall-timeout-ms', '1500'];
  const limits = ['--max-viewers', '25', '--hls-segments', '5', '--hls-segment-ms', '500'];
  publisher = await PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir, ...times, ...limits]);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

afterEach(async () => {
  simulator.heal();
  await Promise.all(players.splice(0).map((player) => player[Symbol.asyncDispose]()));
  await eventually(() => expect(simulator.streams()).toBe(0), promisedMs(10_000));
});

/** One that leaves after the test. */
async function open(url: string): Promise<HlsPlayer> {
  const player = await HlsPlayer.open(url);
  players.push(player);
  return player;
}

const hls = (id: string, path = 'index.m3u8') => `${publisher.url}/channels/${id}/hls/${path}`;

describe('HLS of a channel', () => {
  it('is played by ffprobe and ffmpeg', async () => {
    const args = ['-v', 'error', '-t', '3', '-i', hls('5.1'), '-map', '0:v', '-f', 'framehash', '-'];
    const [streams, { stdout, stderr }] = await Promise.all([
      streamsOf(hls('5.1')),
      promisify(execFile)(findFfmpeg(), args),
    ]);
    expect(streams).toEqual(['audio', 'video']);
    expect(stdout.split('\n').filter((line) => /^\d/.test(line)).length).toBeGreaterThan(60);
    expect(stderr).toBe('');
  });

  it('keeps the rules over many playlists, in a ring that is bounded', async () => {
    const player = await open(hls('5.1'));
    await player.more(14);
    expect(violationsOf(player.playlists)).toEqual([]);
    expect(contentViolationsOf(player.segments)).toEqual([]);
    expect(player.missing).toEqual([]);
    const lengths = player.playlists.map(({ segments }) => segments.length);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(7);
    expect(player.segments.slice(1).some(({ isDiscontinuous }) => isDiscontinuous)).toBe(false);
    expect(await publisher.metric('publisher_hls_segments')).toBeLessThanOrEqual(16);
    expect(await publisher.metric('publisher_hls_streams')).toBe(1);
  });

  it('shows its first picture soon', async () => {
    const begun = performance.now();
    const player = await open(hls('7.1'));
    await player.more(1);
    const elapsedMs = Math.round(performance.now() - begun);
    console.log(`HLS from nothing to the first segment: ${elapsedMs} ms`);
    expect(elapsedMs).toBeLessThan(promisedMs(3_000));
  });

  it('is made only while it is watched, then its tuner is free, and later it goes on with other numbers', async () => {
    const opens = simulator.opens('9.1');
    const player = await open(hls('9.1'));
    await player.more(2);
    expect(simulator.streams('9.1')).toBe(1);
    await timed(IDLE_MS + 500, () => expect(simulator.streams('9.1')).toBe(0));
    expect(await publisher.metric('publisher_hls_streams')).toBe(0);
    expect(await publisher.metric('publisher_hls_sessions')).toBe(0);
    expect(await publisher.metric('publisher_hls_segments')).toBe(0);
    expect(simulator.opens('9.1') - opens).toBe(1);
    const [last, before] = [player.newest?.sequence as number, player.playlists.splice(0)];
    await player.more(2);
    expect([...violationsOf(before), ...violationsOf(player.playlists)]).toEqual([]);
    expect(contentViolationsOf(player.segments)).toEqual([]);
    const [again] = player.playlists[0]?.segments ?? [];
    expect(again?.sequence).toBeGreaterThan(last);
    expect(again?.isDiscontinuous).toBe(true);
  });

  it('is read once and cut once for 20 players and a viewer of MPEG-TS', async () => {
    const opens = simulator.opens('5.1');
    const players = await Promise.all(Array.from({ length: 20 }, () => open(hls('5.1'))));
    expect(await publisher.metric('publisher_hls_sessions')).toBe(20);
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await Promise.all([viewer.more(), ...players.map((player) => player.more(2))]);
    expect(simulator.opens('5.1') - opens).toBe(1);
    expect(await publisher.metric('publisher_hls_streams')).toBe(1);
    const bodies = new Set(players.map(({ segments }) => segments[0]?.bytes.toString('base64')));
    expect(bodies.size).toBe(1);
  });

  it('counts its sessions as viewers, and refuses who is too many', async () => {
    const players = await Promise.all(Array.from({ length: 25 }, () => open(hls('5.1'))));
    const refused = await ask(hls('5.1'));
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '10']);
    expect(refused.json.detail).toMatch(/--max-viewers/);
    expect(await players[0]?.poll()).toBe(200);
  });
});

describe('a session of HLS', () => {
  it('that says it leaves is over at once: its place and its tuner are free, and what it asks for is refused', async () => {
    const player = await open(hls('5.1'));
    const other = await open(hls('5.1'));
    await Promise.all([player.more(1), other.more(1)]);
    const segment = new URL(player.newest?.uri as string, player.media).href;
    const leave = (url: string) => ask(url, { method: 'DELETE' });
    expect([(await leave(player.media)).status, (await leave(player.media)).status]).toEqual([204, 204]);
    expect(await publisher.metric('publisher_hls_sessions')).toBe(1);
    expect([await player.poll(), (await ask(segment)).status]).toEqual([410, 410]);
    expect(await other.poll()).toBe(200);
    await leave(other.media);
    await timed(250, () => expect(simulator.streams('5.1')).toBe(0));
    expect(await publisher.metric('publisher_hls_streams')).toBe(0);
    expect((await leave(hls('5.1', 'copy/index.m3u8'))).status).toBe(404);
    expect((await leave(`${publisher.url}/channels/99.1/hls/copy/index.m3u8`)).status).toBe(404);
  });

  it('is over at once if nobody waits any more for its first picture', async () => {
    simulator.misbehave({ fault: 'slow-start', channel: '7.1', afterMs: 20_000 });
    const leaving = new AbortController();
    const opening = fetch(hls('7.1'), { signal: leaving.signal });
    const direct = fetch(hls('7.1', 'copy/index.m3u8'), { signal: leaving.signal });
    await eventually(() => expect(simulator.streams('7.1')).toBe(1));
    leaving.abort();
    await expect(opening).rejects.toThrow();
    await expect(direct).rejects.toThrow();
    await eventually(async () => expect(await publisher.metric('publisher_hls_sessions')).toBe(0));
    await timed(500, () => expect(simulator.streams('7.1')).toBe(0));
  });

  it('is needed for segments as well, and each that is asked for with another is a viewer more', async () => {
    const player = await open(hls('5.1'));
    await player.more(1);
    const segment = new URL(player.newest?.uri as string, player.media);
    const head = await ask(segment.href, { method: 'HEAD' });
    expect([head.status, await publisher.metric('publisher_hls_sessions')]).toEqual([200, 1]);
    const statuses: number[] = [];
    for (let viewer = 0; viewer < 25; viewer++) {
      segment.searchParams.set('session', `${viewer}`.padStart(16, 'x'));
      statuses.push((await ask(segment.href)).status);
    }
    expect(statuses).toEqual([...Array(24).fill(200), 429]);
    expect(await publisher.metric('publisher_hls_sessions')).toBe(25);
    for (let viewer = 0; viewer < 25; viewer++) {
      const url = new URL(player.media);
      url.searchParams.set('session', `${viewer}`.padStart(16, 'x'));
      await ask(url.href, { method: 'DELETE' });
    }
  });
});

describe('the answers of HLS', () => {
  it('are cached for ever if they are segments, and never if they are playlists, and for pages of others', async () => {
    const player = await open(hls('5.1'));
    await player.more(1);
    const head = { method: 'HEAD' };
    const [media, segment] = [player.media, new URL(player.newest?.uri as string, player.media).href];
    for (const [url, type, caching] of [
      [hls('5.1'), 'application/vnd.apple.mpegurl', 'no-store'],
      [media, 'application/vnd.apple.mpegurl', 'no-store'],
      [segment, 'video/mp2t', 'public, max-age=300, immutable'],
    ] as const) {
      for (const method of [{}, head]) {
        const { status, headers, text } = await ask(url, method);
        const [session] = url === media ? [] : (/.*session=.*/.exec(text) ?? []);
        if (session) players.push(new HlsPlayer(new URL(session, url).href));
        const said = ['content-type', 'cache-control', 'access-control-allow-origin'].map((name) => headers.get(name));
        expect([url, status, ...said]).toEqual([url, 200, type, caching, '*']);
      }
    }
  });

  it('open nothing to HEAD', async () => {
    const opens = simulator.opens();
    expect((await ask(hls('5.1'), { method: 'HEAD' })).status).toBe(200);
    expect((await ask(hls('5.1', 'copy/index.m3u8'), { method: 'HEAD' })).status).toBe(200);
    expect(simulator.opens()).toBe(opens);
  });

  it('are 404 for what there is not, 410 for what there was', async () => {
    const player = await open(hls('5.1'));
    await player.more(1);
    const { uri = '', sequence = 0 } = player.newest ?? {};
    const named = (other: number) => `copy/${uri.replace(String(sequence), String(other))}`;
    for (const [path, status] of [
      [named(sequence), 200],
      [named(sequence + 100), 404],
      [named(sequence - 100), 410],
      [`copy/${sequence}.ts`, 404],
      ['copy/..%2f..%2f..%2fetc%2fpasswd', 404],
      ['copy/1e9.ts', 404],
      ['best/index.m3u8', 404],
      ['index.m3u8?profile=best', 404],
      ['other.m3u8', 404],
    ] as const) {
      expect([path, (await ask(hls('5.1', path))).status]).toEqual([path, status]);
    }
    const unknown = await ask(hls('99.1'));
    expect([unknown.status, unknown.json.title]).toEqual([404, 'Unknown channel']);
    expect((await ask(hls('..%2f5.1'))).status).toBe(404);
  });

  it('are those of MPEG-TS if the channel fails before the first segment', async () => {
    simulator.misbehave({ fault: 'error-5xx', channel: '7.1' });
    simulator.misbehave({ fault: 'error-5xx', channel: '9.1' });
    const ts = await ask(`${publisher.url}/channels/7.1.ts`);
    const playlist = await ask(hls('9.1'));
    const said = ({ status, json }: Answer) => [status, json.status, json.title, json.code];
    expect(said(playlist)).toEqual(said(ts));
    expect(playlist.headers.get('content-type')).toBe('application/problem+json');
    expect(playlist.headers.get('x-hdhomerun-error')).toBe(ts.headers.get('x-hdhomerun-error'));
    expect(await publisher.metric('publisher_hls_sessions')).toBe(0);
  });

  it('are 503 while the channel gives nothing, and go on with a discontinuity when it does again', async () => {
    const player = await open(hls('5.1'));
    await player.more(3);
    simulator.misbehave({ fault: 'no-video', channel: '5.1', afterMs: 0 });
    simulator.misbehave({ fault: 'cut', channel: '5.1' });
    await eventually(async () => {
      const { status, headers } = await ask(player.media);
      expect([status, Number(headers.get('retry-after')) > 0]).toEqual([503, true]);
    }, promisedMs(15_000));
    simulator.heal();
    await eventually(async () => expect(await player.poll()).toBe(200), promisedMs(60_000));
    await player.more(2);
    expect(violationsOf(player.playlists)).toEqual([]);
    expect(contentViolationsOf(player.segments)).toEqual([]);
    expect(player.segments.some(({ isDiscontinuous }) => isDiscontinuous)).toBe(true);
  });
});
