import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { HdhomerunSimulator, type Misbehaviour } from '../../examples/hdhomerun/index.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, type Json, makeRecording, PublisherProcess, Viewer } from './support.ts';

/** Two devices with the same channels; which one is read is told by their tuners. */
let first: HdhomerunSimulator;
let second: HdhomerunSimulator;
const lockDir = temporaryDirectory(afterAll);

beforeAll(async () => {
  [first, second] = await Promise.all([HdhomerunSimulator.start(), HdhomerunSimulator.start()]);
});

afterAll(async () => {
  await Promise.all([first.close(), second.close()]);
});

afterEach(async () => {
  for (const simulator of [first, second]) simulator.heal();
  await eventually(() => expect([first.streams(), second.streams()]).toEqual([0, 0]), promisedMs(5_000));
});

/** A publisher with one channel, `news`, that both devices have. */
const publish = (...flags: readonly string[]) =>
  PublisherProcess.start([
    ...['--source', `news=${JSON.stringify([first.streamUrl('5.1'), second.streamUrl('5.1')])}`],
    ...['--lock-dir', lockDir, '--discovery', 'off', ...flags],
  ]);

const watch = async (publisher: PublisherProcess) => {
  const viewer = await Viewer.open(`${publisher.url}/channels/news.ts`);
  await viewer.more();
  return viewer;
};

/** Streams a recording at about its own speed, and loses every fifth packet once it is told to. */
async function lossySource() {
  const recording = join(temporaryDirectory(), 'recording.ts');
  await makeRecording(recording);
  const packets = readFileSync(recording);
  const perTick = 188 * 250;
  let isLosing = false;
  const server = createServer((_, response) => {
    response.writeHead(200, { 'Content-Type': 'video/mp2t' });
    let at = 0;
    const timer = setInterval(() => {
      const part = packets.subarray(at, at + perTick);
      at = at + perTick < packets.length ? at + perTick : 0;
      const kept = Array.from({ length: part.length / 188 }, (_, index) => index).filter((index) => index % 5 !== 0);
      response.write(
        isLosing ? Buffer.concat(kept.map((index) => part.subarray(188 * index, 188 * (index + 1)))) : part,
      );
    }, 90);
    response.on('close', () => clearInterval(timer));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    lose: () => {
      isLosing = true;
    },
  };
}

const opens = () => [first.opens(), second.opens()] as const;

/** Of this publisher only what happens from now on. */
async function counted<T>(publisher: PublisherProcess, work: () => Promise<T>) {
  const before = opens();
  const result = await work();
  const after = opens();
  const restarts = await publisher.metric('holdfast_restarts_total');
  return { result, firstOpens: after[0] - before[0], secondOpens: after[1] - before[1], restarts };
}

describe('a channel with two sources, of which the first', () => {
  it.each<[Misbehaviour['fault'], string, number]>([
    ['stall', 'silent', 3_000],
    ['cut', 'ended', 1_000],
    ['end', 'ended', 1_000],
    ['garbage', 'garbage', 3_000],
  ])('meets %s: the second is read (%s), its viewers stay, and nothing is restarted', async (fault, why, withinMs) => {
    await using publisher = await publish();
    using viewer = await watch(publisher);
    expect([first.streams('5.1'), second.streams('5.1')]).toEqual([1, 0]);
    const { result, firstOpens, secondOpens, restarts } = await counted(publisher, async () => {
      const begun = performance.now();
      first.misbehave({ fault, channel: '5.1' });
      await eventually(() => expect([first.streams(), second.streams()]).toEqual([0, 1]), promisedMs(withinMs + 2_000));
      const detectedMs = Math.round(performance.now() - begun);
      await viewer.more(50_000, promisedMs(5_000));
      return { detectedMs, backMs: Math.round(performance.now() - begun) };
    });
    console.log(
      `${fault}: the second opened after ${result.detectedMs} ms, its bytes at the viewer after ${result.backMs} ms`,
    );
    expect(result.detectedMs).toBeLessThan(promisedMs(withinMs) + 1_000);
    expect([viewer.isGone, firstOpens, secondOpens, restarts]).toEqual([false, 0, 1, 0]);
    expect(await publisher.metric(`publisher_source_switches_total{channel="news",why="${why}"}`)).toBe(1);
    expect(await publisher.metric('holdfast_circuit_breaker_state')).toBe(0);
    await publisher.says(new RegExp(`switched from \\S+${new URL(first.url).port}\\S+ to .*\\(${why}\\)`));
  });

  it.each<[Misbehaviour, string]>([
    [{ fault: 'tune-failed' }, 'refused'],
    [{ fault: 'reset', channel: '5.1' }, 'refused'],
    [{ fault: 'no-video', afterMs: 200 }, 'refused'],
    [{ fault: 'busy' }, 'busy'],
    [{ fault: 'system-busy' }, 'busy'],
  ])('refuses with $fault: who comes gets the second at once', async (misbehaviour, why) => {
    await using publisher = await publish();
    first.misbehave(misbehaviour);
    const { secondOpens, restarts } = await counted(publisher, () => watch(publisher).then((viewer) => viewer.leave()));
    expect([secondOpens, restarts]).toEqual([1, 0]);
    await eventually(async () =>
      expect(await publisher.metric(`publisher_source_switches_total{channel="news",why="${why}"}`)).toBe(1),
    );
  });

  it('does not answer: who comes gets the second within the time to start', async () => {
    await using publisher = await publish('--start-timeout-ms', String(promisedMs(6_000)));
    first.misbehave({ fault: 'hang', channel: '5.1' });
    const { secondOpens } = await counted(publisher, () => watch(publisher).then((viewer) => viewer.leave()));
    expect(secondOpens).toBe(1);
  });

  it('is bad for good: it is not opened again and again, and the second is read on', async () => {
    await using publisher = await publish('--restart-cooldown-ms', '0', '--prefer-after-ms', '1000');
    using viewer = await watch(publisher);
    // It answers and is free, so that it seems well, and refuses whoever opens it.
    first.misbehave({ fault: 'tune-failed' });
    first.misbehave({ fault: 'cut', channel: '5.1', times: 1 });
    const { firstOpens } = await counted(publisher, async () => {
      await publisher.says(/going back to it/, patienceMs(20_000));
      const until = performance.now() + 8_000;
      await eventually(() => expect(performance.now()).toBeGreaterThan(until), 20_000);
    });
    expect(viewer.isGone).toBe(false);
    await viewer.more(50_000, promisedMs(5_000));
    expect(second.streams()).toBe(1);
    const returns = publisher.output.match(/going back to it/g)?.length ?? 0;
    // After 1, 2, 4 and 8 s, each preceded by what the switch takes.
    expect([returns <= 4, firstOpens]).toEqual([true, 0]);
  });

  it('is well again: it is read again only after preferAfterMs, and the viewers stay', async () => {
    await using publisher = await publish('--prefer-after-ms', String(promisedMs(3_000)), '--restart-cooldown-ms', '0');
    using viewer = await watch(publisher);
    first.misbehave({ fault: 'cut', channel: '5.1', times: 1 });
    await eventually(() => expect(second.streams()).toBe(1));
    const switched = performance.now();
    await throughout(promisedMs(2_000), () => expect([first.streams(), second.streams()]).toEqual([0, 1]));
    await eventually(() => expect([first.streams(), second.streams()]).toEqual([1, 0]), patienceMs(15_000));
    expect(performance.now() - switched).toBeGreaterThan(promisedMs(3_000) - 500);
    await viewer.more(50_000, promisedMs(5_000));
    expect(viewer.isGone).toBe(false);
    const { switches, reading } = await publisher.channel('news');
    if (switches) expect(switches.map(({ why }: Json) => why)).toEqual(['ended', 'preferred']);
    if (reading) expect(reading.index).toBe(0);
  });

  it('and the second both fail: viewers stay, who comes is told what each said, and the first that is well is read', async () => {
    await using publisher = await publish('--restart-cooldown-ms', '0');
    using viewer = await watch(publisher);
    for (const simulator of [first, second]) simulator.misbehave({ fault: 'tune-failed' });
    first.misbehave({ fault: 'cut', channel: '5.1', times: 1 });
    await publisher.says(/none of the sources of channel news can be read/);
    expect(viewer.isGone).toBe(false);
    const answer = await eventually(async () => {
      const answer = await ask(`${publisher.url}/channels/news.ts`);
      expect(answer.json.code).toBe('PUBLISHER_SOURCES_FAILED');
      return answer;
    }, patienceMs(20_000));
    expect(answer.status).toBe(502);
    for (const { url } of [first, second]) expect(answer.json.detail).toContain(new URL(url).host);
    expect(answer.json.detail).toContain('806');
    second.heal();
    await viewer.more(50_000, patienceMs(60_000));
    expect(viewer.isGone).toBe(false);
  });

  it('misses packets again and again: the second is read, and what was missing is counted', async () => {
    const lossy = await lossySource();
    const sources = JSON.stringify([lossy.url, second.streamUrl('5.1')]);
    await using publisher = await PublisherProcess.start([
      ...['--source', `news=${sources}`, '--lock-dir', lockDir, '--discovery', 'off'],
    ]);
    using viewer = await watch(publisher);
    expect(second.streams()).toBe(0);
    const begun = performance.now();
    lossy.lose();
    await eventually(() => expect(second.streams()).toBe(1), promisedMs(5_000));
    console.log(`loss of continuity: the second opened after ${Math.round(performance.now() - begun)} ms`);
    await viewer.more(50_000, promisedMs(5_000));
    expect(viewer.isGone).toBe(false);
    await eventually(async () =>
      expect(await publisher.metric('publisher_source_switches_total{channel="news",why="discontinuous"}')).toBe(1),
    );
    expect(await publisher.metric('publisher_continuity_errors_total{channel="news"}')).toBeGreaterThan(20);
  });

  it('last viewer gone in the midst of a switch: nothing is opened, or it is closed at once', async () => {
    await using publisher = await publish();
    const viewer = await watch(publisher);
    first.misbehave({ fault: 'cut', channel: '5.1', times: 1 });
    second.misbehave({ fault: 'slow-start', afterMs: 10_000 });
    await eventually(() => expect(second.streams()).toBe(1));
    viewer.leave();
    const begun = performance.now();
    await eventually(() => expect([first.streams(), second.streams()]).toEqual([0, 0]), promisedMs(2_000));
    console.log(`tuner free ${Math.round(performance.now() - begun)} ms after the last viewer left a switch`);
    await eventually(async () => expect((await publisher.channel('news')).state).toBe('idle'));
  });
});

describe('a channel with two sources that another publisher reads', () => {
  it('is skipped with the holder named, so that the second is there for the one that is first', async () => {
    await using publisher = await publish();
    await using duplicate = await publish();
    const viewer = await watch(publisher);
    const skipped = async () => {
      const { status, json } = await ask(`${duplicate.url}/channels/news.ts`);
      expect([status, json.code, json.holder.pid]).toEqual([409, 'HOLDFAST_SOURCE_BUSY', publisher.pid]);
      expect(json.title).toBe('Another publisher reads this channel');
      expect(json.detail).toMatch(new RegExp(`the same sources reads this channel: pid ${publisher.pid} on `));
      return json;
    };
    const { secondOpens } = await counted(duplicate, skipped);
    expect(secondOpens).toBe(0);
    await duplicate.says(new RegExp(`channel news: skipped, .* pid ${publisher.pid} on .*examples/publisher/main.ts`));
    expect((await duplicate.channel('news')).holder).toMatchObject({ pid: publisher.pid });
    first.misbehave({ fault: 'cut', channel: '5.1', times: 1 });
    await eventually(() => expect([first.streams(), second.streams()]).toEqual([0, 1]));
    await viewer.more();
    // The first is free now, and may be well again.
    const { firstOpens } = await counted(duplicate, skipped);
    expect(firstOpens).toBe(0);
    viewer.leave();
    // The tuner is free a moment before the locks are.
    await eventually(async () => expect((await publisher.channel('news')).state).toBe('idle'));
    expect(second.streams()).toBe(0);
    (await watch(duplicate)).leave();
  });
});
