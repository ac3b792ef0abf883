import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { SourceLock } from 'holdfast';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { DeviceClient, findFfmpeg, ProgramNotFoundError } from '../../examples/hdhomerun/index.ts';
import type { Channel } from '../../examples/publisher/channel/channel.ts';
import { Channels } from '../../examples/publisher/channel/channels.ts';
import { ReadSource } from '../../examples/publisher/channel/source-reader.ts';
import { type Controls, createControls } from '../../examples/publisher/controls.ts';
import type { DirectoryEntry, Source } from '../../examples/publisher/directory/directory.ts';
import { failureOf } from '../../examples/publisher/failure.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { HardwareEncoders } from '../../examples/publisher/pipeline/hardware.ts';
import { eventually } from '../support/eventually.ts';
import { isUnderLoad, patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { makeRecording, pidsOfChildren, processesWith } from './support.ts';

/** Two recordings, played as live channels: the first is preferred. */
let [one, two, lockDir]: string[] = [];
let channels: Channels;
let controls: Controls;
let said: string[];

beforeEach(async () => {
  const folder = temporaryDirectory();
  [one, two, lockDir] = ['one.ts', 'two.ts', 'locks'].map((name) => join(folder, name)) as [string, string, string];
  await makeRecording(one);
  copyFileSync(one, two);
  said = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((line) => said.push(JSON.parse(String(line)).msg) > 0);
});

afterEach(async () => {
  await channels[Symbol.asyncDispose]();
  await controls[Symbol.asyncDispose]();
  vi.restoreAllMocks();
});

interface Changes {
  maxProcesses?: number;
  ffmpeg?: () => string;
  startTimeoutMs?: number;
  preferAfterMs?: number;
}

function publish(changes: Changes = {}): void {
  const { maxProcesses = 8, ffmpeg = findFfmpeg, startTimeoutMs = promisedMs(5_000), preferAfterMs = 60_000 } = changes;
  const log = createLog('json');
  controls = createControls({ maxProcesses, restartCooldownMs: 0 }, log);
  const times = {
    closeAfterMs: 0,
    startTimeoutMs,
    stallTimeoutMs: 10_000,
    failoverAfterMs: 2_500,
    preferAfterMs,
  };
  const encoding = { deinterlace: true, encoders: new HardwareEncoders({ wanted: () => 'none', ffmpeg, log }) };
  channels = new Channels({ lockDir, ...times, ...encoding, ffmpeg, controls }, log);
}

function entry(id: string, urls: readonly string[]): DirectoryEntry {
  const sources = urls.map((url) => ({ url })) as unknown as [Source, ...Source[]];
  const expiresAt = new Date(Date.now() + 60_000);
  return { id, ids: [id], name: id, number: null, sources, updatedAt: new Date(), expiresAt };
}

function channelOf(...urls: readonly string[]): Channel {
  channels.sync([entry('a', urls)]);
  return channels.get('a') as Channel;
}

const watch = (channel: Channel) => channel.hub.pipe(new PassThrough().resume());
const refusalOf = async (channel: Channel) => failureOf((await watch(channel).ended).error);
const opened = () => said.filter((sentence) => sentence.includes(': opening '));
const encoders = () => pidsOfChildren(process.pid).filter((pid) => processesWith('-mpegts_flags').includes(pid));

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const DESCRIPTION = JSON.stringify({ DeviceID: '1234ABC2', FriendlyName: 'x', TunerCount: 2 });

/** Nothing is held against any source, and only the first was tried. */
function expectNobodyBlamed(channel: Channel): void {
  expect(channel.sources.map(({ state }) => state)).toEqual(['ok', 'ok']);
  expect(opened().filter((sentence) => sentence.includes(two as string))).toEqual([]);
  expect(channel.refusal).toBeUndefined();
}

describe('what is no fault of a source counts against none, and does not go down the list', () => {
  it('that its lock is lost while it is read: it is opened again, as no restart, a moment later', async () => {
    publish();
    const restarted = vi.fn();
    controls.supervisor.on('restart', restarted);
    const channel = channelOf(one as string, two as string);
    await watch(channel).live;
    for (const name of readdirSync(lockDir as string)) {
      if (name.endsWith('.lock')) rmSync(join(lockDir as string, name));
    }
    await eventually(
      () => expect(channel.hub.stats()).toMatchObject({ openings: 2, state: 'live' }),
      patienceMs(20_000),
    );
    expectNobodyBlamed(channel);
    expect([restarted.mock.calls, channel.switches]).toEqual([[], []]);
  });

  // A device is asked for a second at most, whatever the load: what the next has is not enough for every host then.
  it.skipIf(isUnderLoad)(
    'that what has to be known of it before it is opened takes its time: the next is read',
    async () => {
      // Of it the first source has 0.9 s, and its device is asked for a second who it is.
      publish({ startTimeoutMs: 2_000 });
      const recording = readFileSync(one as string);
      const hung = await serve(() => {});
      const other = await serve((_, response) => {
        response.writeHead(200, { 'Content-Type': 'video/mp2t' }).write(recording);
      });
      const channel = channelOf(`http://${hung}/auto/v5.1`, `http://${other}/live`);
      await watch(channel).live;
      expect(channel.reading?.index).toBe(1);
      expect(channel.sources.map(({ state }) => state)).toEqual(['ok', 'ok']);
    },
  );

  it('that the directory of locks can not be used', async () => {
    publish();
    const channel = channelOf(one as string, two as string);
    rmSync(lockDir as string, { recursive: true, force: true });
    writeFileSync(lockDir as string, 'no directory');
    expect(await refusalOf(channel)).toMatchObject({ status: 502, code: 'PUBLISHER_SOURCES_FAILED' });
    expectNobodyBlamed(channel);
    rmSync(lockDir as string);
    mkdirSync(lockDir as string);
    await watch(channel).live;
  });

  it('that there is no ffmpeg', async () => {
    publish({
      ffmpeg: () => {
        throw new ProgramNotFoundError('there is no ffmpeg');
      },
    });
    const channel = channelOf(one as string, two as string);
    expect(await refusalOf(channel)).toMatchObject({ title: 'ffmpeg could not be started' });
    expectNobodyBlamed(channel);
  });

  it('that every process is taken', async () => {
    publish({ maxProcesses: 1, startTimeoutMs: promisedMs(1_500) });
    const three = join(temporaryDirectory(), 'three.ts');
    copyFileSync(one as string, three);
    channels.sync([entry('a', [one as string, two as string]), entry('b', [three])]);
    await watch(channels.get('b') as Channel).live;
    const channel = channels.get('a') as Channel;
    expect(await refusalOf(channel)).toMatchObject({ status: 503, title: 'This publisher is full' });
    expectNobodyBlamed(channel);
  });

  it('that its last viewer leaves while it is opened', async () => {
    publish();
    const channel = channelOf(`http://${await serve(() => {})}/x`, two as string);
    const viewer = watch(channel);
    await eventually(() => expect(opened()).toHaveLength(1));
    await viewer[Symbol.asyncDispose]();
    await eventually(() => expect(channel.hub.state).toBe('idle'));
    expectNobodyBlamed(channel);
  });

  it('that its last viewer leaves while its device is asked why it refused, which nobody waits for', async () => {
    publish();
    let isAsked = false;
    const address = await serve(({ url = '' }, response) => {
      if (url === '/discover.json') response.end(DESCRIPTION);
      else if (url === '/status.json') isAsked = true;
      else response.writeHead(503).end();
    });
    const device = await DeviceClient.at(`http://${address}`);
    channels.sync([{ ...entry('a', ['x']), sources: [{ url: `http://${address}/auto/v5.1`, device }] }]);
    const channel = channels.get('a') as Channel;
    const viewer = watch(channel);
    await eventually(() => expect(isAsked).toBe(true));
    await viewer[Symbol.asyncDispose]();
    await eventually(() => expect(channel.hub.state).toBe('idle'), promisedMs(500));
    expect(channel.sources).toMatchObject([{ state: 'ok' }]);
  });

  it('that the publisher stops while it is read', async () => {
    publish();
    const channel = channelOf(one as string, two as string);
    await watch(channel).live;
    await channels[Symbol.asyncDispose]();
    expectNobodyBlamed(channel);
    expect(channel.switches).toEqual([]);
  });

  it('that a service manager tells its ffmpeg to end: it is opened again, as no restart, a moment later', async () => {
    const ffmpeg = join(temporaryDirectory(), 'ffmpeg');
    writeFileSync(ffmpeg, `#!/bin/sh\ncat ${one}\nexec sleep 61\n`, { mode: 0o755 });
    publish({ ffmpeg: () => ffmpeg });
    const restarted = vi.fn();
    controls.supervisor.on('restart', restarted);
    const channel = channelOf(one as string, two as string);
    await watch(channel).live;
    const [child] = await eventually(() => {
      const found = pidsOfChildren(process.pid).filter((pid) => processesWith('sleep\u000061').includes(pid));
      expect(found).toHaveLength(1);
      return found;
    });
    process.kill(child as number, 'SIGTERM');
    await eventually(
      () => expect(channel.hub.stats()).toMatchObject({ openings: 2, state: 'live' }),
      promisedMs(5_000),
    );
    expectNobodyBlamed(channel);
    expect([restarted.mock.calls, channel.switches]).toEqual([[], []]);
  });
});

it('a source that is lost and can not be ended is told of to who reads it, and to nobody else', async () => {
  const unhandled = vi.fn();
  process.on('unhandledRejection', unhandled);
  onTestFinished(() => void process.off('unhandledRejection', unhandled));
  publish();
  const stuck = new Error('it can not be ended');
  const source = { stdout: new PassThrough(), closed: Promise.withResolvers<never>().promise };
  const read = new ReadSource({ ...source, [Symbol.asyncDispose]: () => Promise.reject(stuck) }, async () => {});
  read.stdout.on('error', () => {});
  read.lose(new Error('it gives garbage'));
  await setImmediate();
  expect(unhandled).not.toHaveBeenCalled();
  await expect(read[Symbol.asyncDispose]()).rejects.toBe(stuck);
});

describe('a channel whose first source', () => {
  const lock = (path: string | undefined) => SourceLock.acquire(path as string, { dir: lockDir, onWarning: () => {} });

  it('is held by another process reads the next, and is refused with the holder if that is held as well', async () => {
    publish();
    const channel = channelOf(one as string, two as string);
    await using _first = await lock(one);
    const second = await lock(two);
    expect(await refusalOf(channel)).toMatchObject({ status: 409, holder: { pid: process.pid } });
    // One who comes before they are looked at again is told the same.
    expect(await refusalOf(channel)).toMatchObject({ status: 409, holder: { pid: process.pid } });
    await second[Symbol.asyncDispose]();
    await eventually(() => watch(channel).live, patienceMs(10_000));
    expect(channel.reading?.index).toBe(1);
    expect(channel.sources).toMatchObject([
      { state: 'busy', why: expect.stringContaining('watch that one') },
      { state: 'ok' },
    ]);
    expect(channel.refusal).toBeUndefined();
  });

  it('seems well again and hangs has a third of the time to start, and the next is read on', async () => {
    const startTimeoutMs = promisedMs(4_500);
    publish({ preferAfterMs: 1_000, startTimeoutMs });
    let isUp = true;
    const recording = readFileSync(one as string);
    const address = await serve(({ method }, response) => {
      if (method === 'HEAD') response.end();
      else if (isUp) response.writeHead(200, { 'Content-Type': 'video/mp2t' }).end(recording);
    });
    const channel = channelOf(`http://${address}/live`, two as string);
    await watch(channel).live;
    isUp = false;
    await eventually(() => expect(channel.sources[0]?.why).toMatch(/did not answer within/), patienceMs(10_000));
    const [, withinMs] = /within (\d+) ms/.exec(channel.sources[0]?.why ?? '') ?? [];
    expect(Number(withinMs)).toBeLessThanOrEqual(Math.min(4_000, (0.9 * startTimeoutMs) / 3));
    await eventually(() => expect([channel.hub.state, channel.reading?.index]).toEqual(['live', 1]), patienceMs(5_000));
    expect(channel.hub.subscribers).toBe(1);
  });

  it('failed is read again, as soon as it may be, if another process holds the next', async () => {
    publish();
    const channel = channelOf(one as string, two as string);
    const viewer = watch(channel);
    await viewer.live;
    await using _second = await lock(two);
    for (const pid of encoders()) process.kill(pid, 'SIGKILL');
    await eventually(
      () => expect([channel.hub.stats().openings > 1, channel.reading?.index]).toEqual([true, 0]),
      patienceMs(15_000),
    );
    expect(channel.hub.subscribers).toBe(1);
  });

  it('needs an ffmpeg that is not there reads one that needs none, and does not go back at once', async () => {
    publish({
      ffmpeg: () => {
        throw new ProgramNotFoundError('there is no ffmpeg');
      },
    });
    const recording = readFileSync(one as string);
    const address = await serve((_, response) => {
      response.writeHead(200, { 'Content-Type': 'video/mp2t' });
      const timer = setInterval(() => response.write(recording.subarray(0, 188 * 500)), 90);
      response.on('close', () => clearInterval(timer));
    });
    const channel = channelOf(one as string, two as string, `http://${address}/live`);
    await watch(channel).live;
    expect(channel.reading?.index).toBe(2);
    expect(channel.sources).toMatchObject([{ state: 'busy' }, { state: 'ok' }, { state: 'ok' }]);
    expect(opened()).toHaveLength(2);
  });
});

describe('a channel', () => {
  it('whose ffmpeg dies goes on with its next source, which is no restart', async () => {
    publish();
    const restarted = vi.fn();
    controls.supervisor.on('restart', restarted);
    const channel = channelOf(one as string, two as string);
    const viewer = watch(channel);
    await viewer.live;
    expect(channel.reading).toEqual({ source: one, resource: null, index: 0 });
    for (const pid of encoders()) process.kill(pid, 'SIGKILL');
    await eventually(() => expect(channel.reading?.index).toBe(1), promisedMs(5_000));
    await eventually(() => expect(channel.switches).toMatchObject([{ from: one, to: two, why: 'ended' }]));
    expect(restarted).not.toHaveBeenCalled();
    expect(channel.sources).toMatchObject([
      { source: one, state: 'failed', isReading: false, why: expect.any(String), until: expect.any(Date) },
      { source: two, state: 'ok', isReading: true },
    ]);
    expect(channel.hub.subscribers).toBe(1);
  });

  it('reads on what is still listed in a new list, whatever its place', async () => {
    publish();
    const channel = channelOf(one as string, two as string);
    await watch(channel).live;
    const pids = encoders();
    channels.sync([entry('a', [two as string, one as string])]);
    expect([channel.reading?.index, encoders()]).toEqual([1, pids]);
  });

  it('goes to another source when what it reads is no longer listed, and its viewers stay', async () => {
    publish();
    const channel = channelOf(one as string);
    const viewer = watch(channel);
    await viewer.live;
    const forgotten: string[] = [];
    const onForgotten = (message: unknown) => forgotten.push((message as { id: string }).id);
    subscribe('holdfast:supervisor:forgotten', onForgotten);
    onTestFinished(() => void unsubscribe('holdfast:supervisor:forgotten', onForgotten));
    channels.sync([entry('a', [two as string])]);
    await eventually(() => expect(channel.reading?.source).toBe(two), promisedMs(5_000));
    expect(forgotten).toEqual(['a']);
    await eventually(() => expect(channel.switches).toMatchObject([{ from: one, to: two, why: 'removed' }]));
    expect(channel.hub.subscribers).toBe(1);
    expect(encoders()).toHaveLength(1);
  });

  it('whose source was removed while it was read leaves what takes its id alone when the last of it is gone', async () => {
    publish();
    const stopped = vi.spyOn(controls.supervisor, 'stop');
    const channel = channelOf(one as string);
    await watch(channel).live;
    channels.sync([entry('a', [two as string])]);
    channels.renew('a');
    await eventually(() => expect(channel.hub.state).toBe('closed'));
    // Of each of its sources once: later the number is another's.
    await eventually(() => expect(stopped.mock.calls.flat().sort()).toEqual(['a', 'a#2']));
  });

  it('whose sources are removed while their device is asked for a free tuner opens none of them', async () => {
    publish();
    const streams: string[] = [];
    let asked = 0;
    const address = await serve(({ url = '' }, response) => {
      if (url === '/discover.json') response.end(DESCRIPTION);
      else if (url === '/status.json') asked++;
      else streams.push(url);
    });
    const device = await DeviceClient.at(`http://${address}`);
    const of = (number: string) => ({ url: `http://${address}/auto/v${number}`, device });
    channels.sync([{ ...entry('a', ['x']), sources: [of('5.1'), of('7.1')] }]);
    const channel = channels.get('a') as Channel;
    const viewer = watch(channel);
    await eventually(() => expect(asked).toBe(2));
    channels.sync([entry('a', [two as string])]);
    await viewer.live;
    expect([streams, channel.reading?.source]).toEqual([[], two]);
  });

  it('that is restarted by its operator begins with its first source, whatever failed or has to wait', async () => {
    publish();
    rmSync(one as string);
    channels.sync([entry('a', [one as string, two as string]), entry('b', [one as string])]);
    const [a, b] = [channels.get('a') as Channel, channels.get('b') as Channel];
    const viewer = watch(a);
    await viewer.live;
    expect(await refusalOf(b)).toMatchObject({ status: 502 });
    expect([a.reading?.index, b.isAvailable, b.refusal?.why]).toEqual([1, false, 'backoff']);
    copyFileSync(two as string, one as string);
    a.restart(new Error('on purpose'));
    await eventually(() => expect(a.reading?.index).toBe(0), promisedMs(5_000));
    expect(a.hub.subscribers).toBe(1);
    await viewer[Symbol.asyncDispose]();
    b.restart(new Error('on purpose'));
    await eventually(() => expect([b.isAvailable, b.refusal]).toEqual([true, undefined]), promisedMs(100));
    await watch(b).live;
  });

  it('whose source is removed while it is opened is forgotten as well', async () => {
    publish();
    const forgotten: string[] = [];
    const onForgotten = (message: unknown) => forgotten.push((message as { id: string }).id);
    subscribe('holdfast:supervisor:forgotten', onForgotten);
    onTestFinished(() => void unsubscribe('holdfast:supervisor:forgotten', onForgotten));
    const channel = channelOf(`http://${await serve(() => {})}/x`);
    const viewer = watch(channel);
    await eventually(() => expect(opened()).toHaveLength(1));
    channels.sync([entry('a', [two as string])]);
    await viewer.live;
    expect(forgotten).toEqual(['a']);
  });

  it('is asked at once for who comes, and not for what only opens itself again', async () => {
    publish();
    const channel = channelOf(one as string);
    await using _held = await SourceLock.acquire(one as string, { dir: lockDir, onWarning: () => {} });
    const { signal } = new AbortController();
    const openings = () => opened().length;
    await channel.feed(signal).ended;
    expect(openings()).toBe(1);
    await channel.feed(signal).ended;
    expect(openings()).toBe(1);
    channel.askAtOnce();
    await channel.feed(signal).ended;
    expect(openings()).toBe(2);
  });

  it('is not refused for what another channel of this publisher is just letting go of', async () => {
    publish();
    channels.sync([entry('a', [one as string]), entry('b', [one as string])]);
    const [a, b] = [channels.get('a') as Channel, channels.get('b') as Channel];
    const leaving = watch(a);
    await leaving.live;
    const left = leaving[Symbol.asyncDispose]();
    const coming = watch(b);
    await coming.live;
    await left;
    expect(await refusalOf(a)).toMatchObject({ status: 409 });
    // The channel that was there before is on its way out as well.
    channels.sync([]);
    channels.sync([entry('b', [one as string])]);
    await watch(channels.get('b') as Channel).live;
  });
});
