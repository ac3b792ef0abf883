import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { contentViolationsOf, violationsOf } from '../support/hls-rules.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { HlsPlayer, quickSimulator } from './hls-support.ts';
import { ask, makeRecording, PublisherProcess, pidsOfChildren, processesWith, streamsOf } from './support.ts';

const TOKEN = 'an-operator-token-of-a-test';
const directory = temporaryDirectory(afterAll);
const tape = `${directory}/tape.ts`;
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;

beforeAll(async () => {
  await makeRecording(tape, 2, 10);
  simulator = await quickSimulator();
  const times = ['--hls-segment-ms', '500', '--hls-idle-ms', '2500', '--operator-token', TOKEN];
  const sources = ['--device', simulator.url, '--source', `tape=${tape}`];
  publisher = await PublisherProcess.start([...sources, '--lock-dir', directory, ...times]);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

const hls = (id: string, query = '') => `${publisher.url}/channels/${id}/hls/index.m3u8${query}`;
const encoders = () => pidsOfChildren(publisher.pid).filter((pid) => processesWith('-c:a').includes(pid));

describe('the profiles of HLS', () => {
  it('are what browsers play, if what comes is not', async () => {
    const player = await HlsPlayer.open(hls('tape'));
    expect(encoders().length).toBeGreaterThan(0);
    expect(player.media).toMatch(/\/hls\/web\/index\.m3u8/);
    await player.more(4, patienceMs(40_000));
    expect(violationsOf(player.playlists)).toEqual([]);
    expect(contentViolationsOf(player.segments)).toEqual([]);
    expect(await streamsOf(hls('tape'))).toEqual(['audio', 'video']);
  });

  it('are the stream as it comes, if browsers play that', async () => {
    const player = await HlsPlayer.open(hls('5.1'));
    expect(player.media).toMatch(/\/hls\/copy\/index\.m3u8/);
  });

  it('can be asked for, sound alone too', async () => {
    const player = await HlsPlayer.open(hls('7.1', '?profile=audio'));
    await player.more(3, patienceMs(30_000));
    expect(violationsOf(player.playlists)).toEqual([]);
    expect(await streamsOf(hls('7.1', '?profile=audio'))).toEqual(['audio']);
  });

  it('are encoded no longer than they are watched', async () => {
    await eventually(() => {
      expect(simulator.streams()).toBe(0);
      expect(encoders()).toEqual([]);
    }, promisedMs(15_000));
  });
});

describe("an operator's stop", () => {
  it('ends the sessions of HLS, whose players are not to come back by themselves', async () => {
    const player = await HlsPlayer.open(hls('5.1'));
    await player.more(1);
    const authorized = { method: 'POST', headers: { Authorization: `Bearer ${TOKEN}` } };
    expect((await ask(`${publisher.url}/api/channels/5.1/stop`, authorized)).status).toBe(202);
    await eventually(() => expect(simulator.streams('5.1')).toBe(0), promisedMs(5_000));
    expect(await player.poll()).toBe(410);
    expect(simulator.streams('5.1')).toBe(0);
    const again = await HlsPlayer.open(hls('5.1'));
    await again.more(1);
  });
});
