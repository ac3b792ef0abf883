import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { contentViolationsOf, violationsOf } from '../support/hls-rules.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { HlsPlayer, quickSimulator } from './hls-support.ts';
import { PublisherProcess } from './support.ts';

let simulator: HdhomerunSimulator;

beforeAll(async () => {
  simulator = await quickSimulator();
});

afterAll(async () => {
  await simulator.close();
});

function start(stateDir: string): Promise<PublisherProcess> {
  const state = ['--state-dir', stateDir, '--lock-dir', join(stateDir, 'locks')];
  const ring = ['--hls-ring', 'disk', '--hls-segments', '3', '--hls-segment-ms', '500', '--hls-idle-ms', '1000'];
  return PublisherProcess.start(['--device', simulator.url, ...state, ...ring]);
}

const filesIn = (path: string) =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);

describe('segments on disk', () => {
  it('are written whole, are bounded, and are gone when nobody watches', async () => {
    const stateDir = temporaryDirectory();
    const folder = join(stateDir, 'hls');
    await using publisher = await start(stateDir);
    const player = await HlsPlayer.open(`${publisher.url}/channels/5.1/hls/index.m3u8`);
    await player.more(10);
    expect(violationsOf(player.playlists)).toEqual([]);
    expect(contentViolationsOf(player.segments)).toEqual([]);
    expect(player.missing).toEqual([]);
    const files = filesIn(folder);
    expect(files.length).toBeGreaterThan(3);
    expect(files.length).toBeLessThan(16);
    await eventually(() => expect(filesIn(folder)).toEqual([]), promisedMs(10_000));
  });

  it('leave nothing when the publisher stops while they are made', async () => {
    const stateDir = temporaryDirectory();
    const publisher = await start(stateDir);
    const player = await HlsPlayer.open(`${publisher.url}/channels/5.1/hls/index.m3u8`);
    await player.more(2);
    await publisher[Symbol.asyncDispose]();
    expect(readdirSync(join(stateDir, 'hls'))).toEqual([]);
  });

  it('of a publisher that was killed are removed by the next one, those of a living one are not', async () => {
    const stateDir = temporaryDirectory();
    const folder = join(stateDir, 'hls');
    const publisher = await start(stateDir);
    const player = await HlsPlayer.open(`${publisher.url}/channels/5.1/hls/index.m3u8`);
    await player.more(2);
    publisher.kill('SIGKILL');
    await publisher.exited;
    expect(filesIn(folder)).not.toEqual([]);
    const living = join(folder, `${process.pid}-living`);
    mkdirSync(living);
    writeFileSync(join(living, '1.ts'), 'somebody reads this');
    await using next = await start(stateDir);
    expect(filesIn(folder)).toEqual(['1.ts']);
    expect(next.warnings).toEqual([]);
  });

  it('stay in memory where they can not be written, which is said', async () => {
    const stateDir = temporaryDirectory();
    writeFileSync(join(stateDir, 'hls'), 'no folder');
    await using publisher = await start(stateDir);
    const player = await HlsPlayer.open(`${publisher.url}/channels/5.1/hls/index.m3u8`);
    await player.more(3);
    expect(contentViolationsOf(player.segments)).toEqual([]);
    expect(publisher.output).toMatch(/WARN .*segments of HLS stay in memory \(hlsRing/);
  });
});
