import { afterAll, beforeAll, expect, it } from 'vitest';
import type { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { childrenOf } from '../support/processes.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { quickSimulator } from './hls-support.ts';
import { ask, PublisherProcess, timed, Viewer } from './support.ts';

/** Three target durations, less than which no session is kept. */
const HLS_IDLE_MS = 3_000;
const lockDir = temporaryDirectory(afterAll);
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;

beforeAll(async () => {
  simulator = await quickSimulator();
  publisher = await PublisherProcess.start([
    ...['--device', simulator.url, '--lock-dir', lockDir, '--state-dir', lockDir, '--discovery', 'off'],
    ...['--hls-segment-ms', '500', '--hls-idle-ms', String(HLS_IDLE_MS)],
  ]);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

/** The last segment that its playlist has now. */
async function newestSegment(playlist: string): Promise<string> {
  const { text } = await ask(playlist);
  const segment = text.split('\n').findLast((line) => line !== '' && !line.startsWith('#'));
  if (segment === undefined) throw new Error(`no segment in ${text}`);
  return new URL(segment, playlist).href;
}

const encoders = () => childrenOf(publisher.pid).filter(({ command }) => /ffmpeg/.test(command));

async function mediaPlaylist(): Promise<string> {
  const multivariant = `${publisher.url}/channels/5.1/hls/index.m3u8`;
  return newestSegment(multivariant);
}

it('viewers of MPEG-TS, of HLS and of renditions share one tuner, which is free when the last of them is gone', async () => {
  const viewers = await Promise.all(
    ['', '', '?profile=low', '?profile=audio', '?profile=low'].map((profile) =>
      Viewer.open(`${publisher.url}/channels/5.1.ts${profile}`),
    ),
  );
  expect(viewers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  const playlist = await mediaPlaylist();
  const segment = await eventually(() => newestSegment(playlist), patienceMs(20_000));
  expect((await ask(segment)).status).toBe(200);
  await Promise.all(viewers.map((viewer) => viewer.more(20_000, patienceMs(20_000))));
  expect([simulator.opens('5.1'), simulator.streams(), simulator.maxStreams]).toEqual([1, 1, 1]);

  expect(encoders()).toHaveLength(2);

  for (const viewer of viewers.slice(1)) viewer.leave();
  await viewers[0]?.more();
  expect(simulator.streams('5.1')).toBe(1);
  viewers[0]?.leave();
  // HLS has no connection to be closed; whoever asks no more is gone after a while.
  const elapsedMs = await timed(promisedMs(HLS_IDLE_MS + 1_500), () => {
    expect(simulator.streams()).toBe(0);
    expect(encoders()).toEqual([]);
  });
  console.log(`last viewer to tuner free, HLS was watched too: ${elapsedMs} ms`);
});

it('a viewer of a rendition alone frees the tuner within 250 ms of leaving', async () => {
  const viewer = await Viewer.open(`${publisher.url}/channels/7.1.ts?profile=low`);
  await viewer.more(10_000, patienceMs(20_000));
  expect(simulator.streams()).toBe(1);
  viewer.leave();
  const elapsedMs = await timed(250, () => expect(simulator.streams()).toBe(0));
  console.log(`last viewer of a rendition to tuner free: ${elapsedMs} ms`);
});
