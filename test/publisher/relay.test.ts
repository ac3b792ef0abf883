import { afterAll, expect, test } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream, probe } from '../support/transport-stream.ts';
import { ask, type Json, PublisherProcess, Viewer } from './support.ts';

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

test.each([
  ['a circle of three', '/channels/news.ts'],
  ['one of three whose channels are read as those of a device', '/auto/v9.9'],
])('publishers that relay each other in a circle say so at once, with 508 (%s)', async (_, path) => {
  const ports = await Promise.all([freePort(), freePort(), freePort()]);
  const publishers = await Promise.all(
    ports.map((port, index) => {
      const source = `news={"url":"http://127.0.0.1:${ports[(index + 1) % 3]}${path}","number":"9.9"}`;
      const dirs = ['--lock-dir', temporaryDirectory(), '--state-dir', temporaryDirectory()];
      return PublisherProcess.start(['--port', String(port), '--source', source, '--discovery', 'off', ...dirs]);
    }),
  );
  try {
    const { status, json, elapsedMs } = await ask(`${publishers[1]?.url}/channels/news.ts`);
    expect([status, json.code]).toEqual([508, 'PUBLISHER_RELAY_LOOP']);
    expect(json.detail).toContain('is relayed in a circle');
    expect(json.detail).toContain('--peer');
    expect(elapsedMs).toBeLessThan(promisedMs(5_000));
  } finally {
    for (const publisher of publishers) await publisher[Symbol.asyncDispose]();
  }
});

test('publishers that read different channels of each other are no circle', async () => {
  const simulator = await HdhomerunSimulator.start();
  const ports = await Promise.all([freePort(), freePort()]);
  const publishers = await Promise.all(
    ports.map((port, index) => {
      const far = `far=http://127.0.0.1:${ports[1 - index]}/channels/near.ts`;
      const near = `near=${simulator.streamUrl(index === 0 ? '5.1' : '7.1')}`;
      const dirs = ['--lock-dir', temporaryDirectory(), '--state-dir', temporaryDirectory()];
      const sources = ['--source', far, '--source', near, '--discovery', 'off'];
      return PublisherProcess.start(['--port', String(port), ...sources, ...dirs]);
    }),
  );
  try {
    const viewers = await Promise.all(publishers.map(({ url }) => Viewer.open(`${url}/channels/far.ts`)));
    for (const viewer of viewers) {
      await viewer.more();
      viewer.leave();
    }
  } finally {
    for (const publisher of publishers) await publisher[Symbol.asyncDispose]();
    await simulator.close();
  }
});
