import { afterAll, expect, test } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream, probe } from '../support/transport-stream.ts';
import { type Json, PublisherProcess, Viewer } from './support.ts';

const lockDir = temporaryDirectory(afterAll);

test('a chain of three publishers loses nothing; the tuner is read once, and free when the last viewer has left', async () => {
  const simulator = await HdhomerunSimulator.start();
  const chain: PublisherProcess[] = [];
  try {
    chain.push(await PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir]));
    while (chain.length < 3) {
      const source = `news=${(chain.at(-1) as PublisherProcess).url}/channels/${chain.length === 1 ? '5.1' : 'news'}.ts`;
      chain.push(await PublisherProcess.start(['--source', source, '--lock-dir', temporaryDirectory()]));
    }
    const url = `${chain[2]?.url}/channels/news.ts`;
    const viewer = await Viewer.open(url, { keep: true });
    await viewer.more(300_000);
    expect(inspectTransportStream(Buffer.concat(viewer.chunks))).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
    const { streams } = await probe(url);
    expect(streams.map(({ codec_type }) => codec_type).sort()).toEqual(['audio', 'video']);
    expect(simulator.opens('5.1')).toBe(1);
    viewer.leave();
    await eventually(async () => {
      expect(simulator.streams()).toBe(0);
      for (const publisher of chain) {
        const { channels } = await publisher.json('/api/channels');
        expect(channels.every(({ state }: Json) => state === 'idle')).toBe(true);
      }
    });
  } finally {
    for (const publisher of chain) await publisher[Symbol.asyncDispose]();
    await simulator.close();
  }
});
