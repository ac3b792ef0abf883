import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, PublisherProcess, Viewer } from './support.ts';

/** Two devices that have the same channels, with two tuners each. */
let first: HdhomerunSimulator;
let second: HdhomerunSimulator;
let publisher: PublisherProcess;
const lockDir = temporaryDirectory(afterAll);

beforeAll(async () => {
  [first, second] = await Promise.all([HdhomerunSimulator.start(), HdhomerunSimulator.start()]);
  publisher = await PublisherProcess.start([
    ...['--device', first.url, '--device', second.url, '--lock-dir', lockDir, '--discovery', 'off'],
    ...['--restart-cooldown-ms', '0'],
  ]);
  await publisher.says(new RegExp(`${first.url}: 3 channels`));
  await publisher.says(new RegExp(`${second.url}: 3 channels`));
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await Promise.all([first.close(), second.close()]);
});

afterEach(async () => {
  for (const simulator of [first, second]) simulator.heal();
  await eventually(() => expect([first.streams(), second.streams()]).toEqual([0, 0]));
});

const watch = async (id: string) => {
  const viewer = await Viewer.open(`${publisher.url}/channels/${id}.ts`);
  expect(viewer.status).toBe(200);
  await viewer.more();
  return viewer;
};

/** All tuners of a device, by someone else. */
const occupyAll = (simulator: HdhomerunSimulator) => {
  const uses = [simulator.occupy(0), simulator.occupy(1)];
  return {
    [Symbol.dispose]: () => {
      for (const use of uses) use[Symbol.dispose]();
    },
  };
};

describe('a channel that two devices have', () => {
  it('is one channel, read from the first', async () => {
    const { channels } = await publisher.json('/api/channels');
    expect(channels).toHaveLength(3);
    using _viewer = await watch('5.1');
    expect([first.streams('5.1'), second.streams('5.1')]).toEqual([1, 0]);
  });

  it('is read from the one that has more free tuners', async () => {
    using _other = first.occupy(0);
    using _viewer = await watch('7.1');
    expect([first.streams(), second.streams('7.1')]).toEqual([0, 1]);
  });

  it('is read from the other at once when someone else has all tuners of one', async () => {
    using _others = occupyAll(first);
    const begun = performance.now();
    using _viewer = await watch('9.1');
    console.log(`first bytes ${Math.round(performance.now() - begun)} ms after all tuners of one were in use`);
    expect(second.streams('9.1')).toBe(1);
    expect(performance.now() - begun).toBeLessThan(promisedMs(3_000));
  });

  it('whose devices are both busy: who comes is told at once and with 805, who watches waits and is served again', async () => {
    using viewer = await watch('5.1');
    using _secondBusy = occupyAll(second);
    const firstBusy = first.occupy(1);
    first.misbehave({ fault: 'cut', channel: '5.1', times: 1 });
    await eventually(() => expect(first.streams()).toBe(0));
    const free = await eventually(() => first.occupy(0));
    await publisher.says(/channel 5\.1: its viewers wait, it is opened again in \d+ s \(busy\)/);
    const { status, headers, json, elapsedMs } = await ask(`${publisher.url}/channels/5.1.ts`);
    expect([status, headers.get('x-hdhomerun-error')]).toEqual([503, '805 All Tuners In Use']);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(json.detail).toContain('805 All Tuners In Use');
    expect(elapsedMs).toBeLessThan(promisedMs(2_000));
    await throughout(1_000, () => expect(viewer.isGone).toBe(false));
    free[Symbol.dispose]();
    firstBusy[Symbol.dispose]();
    // Who comes now finds out.
    using _newcomer = await watch('5.1');
    await viewer.more(50_000, promisedMs(5_000));
    expect(await publisher.metric('holdfast_circuit_breaker_state')).toBe(0);
  });
});

/** A device of which all tuners are in use, for as long as it is told so. */
async function busyDevice(retryAfterSeconds: number) {
  const asked = { status: 0, stream: 0 };
  const server = createServer((request, response) => {
    if (request.url === '/discover.json') {
      response.end(JSON.stringify({ DeviceID: '1234ABC2', FriendlyName: 'Full', TunerCount: 1 }));
    } else if (request.url === '/status.json') {
      asked.status++;
      response.end(JSON.stringify([{ Resource: 'tuner0', VctNumber: '3.1', TargetIP: '10.0.0.99' }]));
    } else {
      asked.stream++;
      const headers = { 'X-HDHomeRun-Error': '805 All Tuners In Use', 'Retry-After': retryAfterSeconds };
      response.writeHead(503, headers).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

describe('a device that was found busy', () => {
  it('is asked what its tuners do before it is opened again, and its Retry-After is passed on', async () => {
    const device = await busyDevice(42);
    await using own = await PublisherProcess.start([
      ...['--source', `full=${device.url}/auto/v5.1`, '--lock-dir', temporaryDirectory(), '--discovery', 'off'],
    ]);
    const answers = [];
    for (let times = 0; times < 3; times++) answers.push(await ask(`${own.url}/channels/full.ts`));
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 503]);
    expect(answers[0]?.headers.get('retry-after')).toBe('42');
    expect(device.asked.stream).toBe(1);
    expect(device.asked.status).toBeGreaterThanOrEqual(2);
    expect(await own.metric('holdfast_circuit_breaker_state')).toBe(0);
    expect((await own.channel('full')).available).toBe(true);
  });

  it('is no reason to wait where there is another source', async () => {
    const device = await busyDevice(42);
    const sources = JSON.stringify([`${device.url}/auto/v5.1`, second.streamUrl('5.1')]);
    await using own = await PublisherProcess.start([
      ...['--source', `full=${sources}`, '--lock-dir', temporaryDirectory(), '--discovery', 'off'],
    ]);
    using viewer = await Viewer.open(`${own.url}/channels/full.ts`);
    await viewer.more(10_000, patienceMs(10_000));
    expect([device.asked.stream, second.streams('5.1')]).toEqual([1, 1]);
    expect(await own.metric('publisher_source_switches_total{channel="full",why="busy"}')).toBe(1);
  });
});
