import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SourceLock } from 'holdfast';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { openDescriptors } from '../support/processes.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, makeRecording, PublisherProcess, Viewer } from './support.ts';

let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;
const lockDir = temporaryDirectory(afterAll);

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start();
  publisher = await PublisherProcess.start([
    ...['--device', simulator.url, '--lock-dir', lockDir, '--restart-cooldown-ms', '0'],
  ]);
  await publisher.says(/3 channels: 5\.1 /);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

afterEach(() => {
  simulator.heal();
  return eventually(() => expect(simulator.streams()).toBe(0));
});

describe('a channel that is watched', () => {
  it('and whose source another takes is asked for now and then, and comes back when it is free', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    const [{ URL: source }] = (await ask(new URL('/lineup.json', simulator.url).href)).json;
    const taking = SourceLock.acquire(source, { dir: lockDir, timeoutMs: patienceMs(30_000), onWarning: () => {} });
    onTestFinished(async () => (await taking).release());
    const before = await publisher.metric('holdfast_source_lock_refused_total');
    simulator.misbehave({ fault: 'cut', channel: '5.1', times: 1 });
    const lock = await taking;
    await publisher.says(/channel 5\.1: its viewers wait, it is opened again in 5 s \(busy\)/);
    await throughout(2_000, () => expect(viewer.isGone).toBe(false));
    expect((await publisher.metric('holdfast_source_lock_refused_total')) - before).toBeLessThanOrEqual(2);
    const newcomer = await ask(`${publisher.url}/channels/5.1.ts`);
    expect([newcomer.status, newcomer.json.code]).toEqual([409, 'HOLDFAST_SOURCE_BUSY']);
    expect(newcomer.elapsedMs).toBeLessThan(promisedMs(2_000));
    expect(viewer.isGone).toBe(false);
    await lock.release();
    using second = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    expect(second.status).toBe(200);
    await viewer.more(10_000, patienceMs(30_000));
  });

  it('and whose ffmpeg ends its output and lives on is no more often opened than one that fails', async () => {
    const [film, ffmpeg] = [join(lockDir, 'film.ts'), join(lockDir, 'ffmpeg.sh')];
    await makeRecording(film);
    writeFileSync(ffmpeg, `#!/bin/sh\ncat ${film}\nexec >&- sleep 60\n`, { mode: 0o755 });
    const args = ['--source', 'film=rtsp://127.0.0.1:9/x', '--lock-dir', lockDir];
    await using publisher = await PublisherProcess.start(args, { FFMPEG_PATH: ffmpeg });
    using _viewer = await Viewer.open(`${publisher.url}/channels/film.ts`);
    await publisher.says(
      /channel film: its viewers wait, it is opened again in \d+ s \(cooldown\)/,
      patienceMs(30_000),
    );
    await publisher.says(/WARN channel film: The source could not be read: the source of film is over/);
    expect(await publisher.metric('holdfast_restarts_total')).toBe(1);
  });

  it('and whose host has no room for one more is opened again when it has', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/9.1.ts`);
    await viewer.more();
    const limit = (descriptors: number | string) =>
      execFileSync('prlimit', ['--pid', String(publisher.pid), `--nofile=${descriptors}:`]);
    const before = /^Max open files\s+(\d+)/m.exec(
      readFileSync(`/proc/${publisher.pid}/limits`, 'utf8'),
    )?.[1] as string;
    onTestFinished(() => void limit(before));
    limit(openDescriptors(publisher.pid) + 40);
    simulator.misbehave({ fault: 'cut', channel: '9.1', times: 1 });
    await publisher.says(/channel 9\.1: .*\d+ descriptors are free, fewer than 64/);
    await publisher.says(/channel 9\.1: its viewers wait, it is opened again in 10 s \(busy\)/);
    expect(await publisher.metric('holdfast_circuit_breaker_state{id="9.1"}')).toBe(0);
    limit(before);
    await viewer.more(10_000, patienceMs(30_000));
  });

  it('and ends as if it were complete is told of, and opened again', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/9.1.ts`);
    await viewer.more();
    simulator.misbehave({ fault: 'end', channel: '9.1', times: 1 });
    await publisher.says(/channel 9\.1: .*auto\/v9\.1 ended its stream/);
    await viewer.more(200_000, patienceMs(30_000));
  });
});

it('a source that never answers opens its circuit, as one that refuses does', async () => {
  const hung = createServer(() => {}).listen(0, '127.0.0.1');
  onTestFinished(() => {
    hung.close();
    hung.closeAllConnections();
  });
  await once(hung, 'listening');
  const at = `http://127.0.0.1:${(hung.address() as AddressInfo).port}`;
  // The one that may be a device is asked for its names first, which takes time as well.
  const sources = { plain: `${at}/x`, device: `${at}/auto/v5.1` };
  await using publisher = await PublisherProcess.start([
    ...Object.entries(sources).flatMap(([id, url]) => ['--source', `${id}=${url}`]),
    ...['--lock-dir', lockDir, '--start-timeout-ms', String(promisedMs(1_000)), '--restart-cooldown-ms', '0'],
  ]);
  await Promise.all(
    Object.keys(sources).map(async (id) => {
      const titles = new Set<string>();
      await eventually(async () => {
        const { status, json } = await ask(`${publisher.url}/channels/${id}.ts`);
        titles.add(json.title);
        expect([status, json.title]).toEqual([503, 'The source failed too often']);
      }, 10 * patienceMs(30_000));
      expect(titles).not.toContain('This publisher is full');
      expect(await publisher.metric(`holdfast_circuit_breaker_state{id="${id}"}`)).toBe(2);
    }),
  );
});
