import { chmodSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, type Json, PublisherProcess, Viewer } from './support.ts';

/** Under load ffmpeg needs longer for its own start, and pauses for longer. */
const START_TIMEOUT_MS = promisedMs(2_000);
const STALL_TIMEOUT_MS = promisedMs(1_500);
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;
const lockDir = temporaryDirectory(afterAll);

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start();
  const { host } = new URL(simulator.url);
  publisher = await PublisherProcess.start([
    ...['--device', simulator.url, '--lock-dir', lockDir, '--start-timeout-ms', String(START_TIMEOUT_MS)],
    ...['--stall-timeout-ms', String(STALL_TIMEOUT_MS), '--restart-cooldown-ms', '0'],
    ...['--source', `plain=http://${host}/auto/v7.1`, '--source', `none=http://${host}/auto/v99.9`],
    ...['--source', 'file=/nowhere/film.ts'],
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

/** Comes again while the publisher says that it does not try the source now. */
const watch = (id: string) =>
  eventually(async () => {
    const answer = await ask(`${publisher.url}/channels/${id}.ts`);
    expect(answer.json.code).not.toBe('HOLDFAST_RESTART_REFUSED');
    return answer;
  });

describe('a channel that can not be opened', () => {
  it.each(['5.1', 'plain'])('is 503 with Retry-After and 805 at once when all tuners are in use (%s)', async (id) => {
    using _first = simulator.occupy(0);
    using _second = simulator.occupy(1);
    const { status, headers, json, elapsedMs } = await watch(id);
    console.log(`all tuners in use, answered after ${Math.round(elapsedMs)} ms`);
    expect(status).toBe(503);
    expect(headers.get('x-hdhomerun-error')).toBe('805 All Tuners In Use');
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(json).toMatchObject({ title: 'No tuner is free', channel: id, code: 'PUBLISHER_NO_TUNER' });
    expect(elapsedMs).toBeLessThan(promisedMs(2_000));
  });

  it('opens as soon as a tuner is free again', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    expect(viewer.status).toBe(200);
  });

  it('is 502 with the words of the device when it refuses for another reason', async () => {
    simulator.misbehave({ fault: 'tune-failed', times: 1 });
    const { status, headers, json } = await watch('5.1');
    expect([status, json.code]).toEqual([502, 'HDHOMERUN_TUNE_FAILED']);
    expect(headers.get('x-hdhomerun-error')).toBe('806 Tune Failed');
    expect(json.detail).toContain('answered 503: 806 Tune Failed');
  });

  it('is 502 when the device does not have it', async () => {
    const { status, json } = await watch('none');
    expect(status).toBe(502);
    expect(json.detail).toContain('answered 404: 801 Unknown Channel');
    expect(await publisher.channel('none')).toMatchObject({ available: false, lastError: { title: json.title } });
  });

  it('is 502 when its file is not there', async () => {
    const { status, json } = await watch('file');
    expect(status).toBe(502);
    expect(json.detail).toContain('No such file or directory');
  });

  it('is 502 when the device cuts the connection', async () => {
    simulator.misbehave({ fault: 'reset', channel: '5.1', times: 1 });
    expect((await watch('5.1')).status).toBe(502);
  });

  it('is 504 when nothing comes in time, and the tuner is let go', async () => {
    simulator.misbehave({ fault: 'slow-start', channel: '7.1', afterMs: 10 * START_TIMEOUT_MS, times: 1 });
    const { status, json, elapsedMs } = await watch('7.1');
    expect([status, json.title]).toEqual([504, 'The source did not start in time']);
    expect(elapsedMs).toBeLessThan(promisedMs(3_000));
  });

  it('shares one answer among all who wait for it', async () => {
    const opens = simulator.opens('7.1');
    // Not before all of them have come.
    simulator.misbehave({ fault: 'no-video', channel: '7.1', afterMs: promisedMs(500) });
    const answers = await Promise.all(Array.from({ length: 5 }, () => watch('7.1')));
    expect(answers.map(({ status }) => status)).toEqual([502, 502, 502, 502, 502]);
    expect(simulator.opens('7.1') - opens).toBe(1);
  });
});

describe('a tuner that stalls', () => {
  it('is opened anew after stallTimeoutMs, and its viewers stay', async () => {
    using viewer = await Viewer.open(`${publisher.url}/channels/9.1.ts`);
    await viewer.more();
    simulator.misbehave({ fault: 'stall', channel: '9.1', times: 1 });
    await publisher.says(/channel 9\.1: .*stalled/);
    expect(viewer.isGone).toBe(false);
    await viewer.more(500_000);
    expect(simulator.streams()).toBe(1);
  });
});

describe('without an ffmpeg that works', () => {
  const script = (text: string, mode = 0o755) => {
    const path = join(temporaryDirectory(), 'ffmpeg');
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };

  async function watchWith(ffmpeg: string) {
    const args = ['--source', 'film=/tmp/film.ts', '--lock-dir', temporaryDirectory()];
    await using broken = await PublisherProcess.start(args, { FFMPEG_PATH: ffmpeg });
    const answer = await ask(`${broken.url}/channels/film.ts`);
    const ready = await ask(`${broken.url}/readyz`);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    return { ...answer, detail: answer.json.detail as string, ready, output: broken.output };
  }

  it('that is missing, the program starts, says so once and answers with it', async () => {
    const { status, detail, ready, output } = await watchWith('/nowhere/ffmpeg');
    expect(status).toBe(502);
    expect(detail).toContain('FFMPEG_PATH names /nowhere/ffmpeg, which does not exist');
    expect(output.match(/WARN FFMPEG_PATH names/g)).toHaveLength(1);
    expect([ready.status, ready.json.reasons]).toEqual([503, [detail]]);
  });

  it('that is not executable', async () => {
    const { status, detail } = await watchWith(script('', 0o644));
    expect(status).toBe(502);
    expect(detail).toContain('no executable file for this user; chmod +x it');
  });

  it('that is no program of this machine', async () => {
    const { status, detail } = await watchWith(script('#!/nowhere/interpreter\n'));
    expect(status).toBe(502);
    expect(detail).toMatch(/cannot start .*ffmpeg: /);
  });

  it('that exits at once, the answer has the tail of its stderr', async () => {
    const { status, detail } = await watchWith(script('#!/bin/sh\necho "libx264 has gone fishing" >&2\nexit 3\n'));
    expect(status).toBe(502);
    expect(detail).toContain('ended with exit code 3');
    expect(detail).toContain('libx264 has gone fishing');
  });

  it('that prints rubbish, no byte of it reaches the viewer and the answer has the tail of its stderr', async () => {
    const { status, detail } = await watchWith(
      script('#!/bin/sh\necho "I am lost" >&2\necho "<html>hello"\nsleep 60\n'),
    );
    expect(status).toBe(502);
    expect(detail).toContain('did not write MPEG-TS but "<html>hello');
    expect(detail).toContain('I am lost');
  });
});

/** A device of which only its faults exist. */
async function device(answer: RequestListener): Promise<{ url: string; server: Server }> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await eventually(() => expect(server.listening).toBe(true));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

describe('a device that can not be read', () => {
  /** It starts, serves the configured source, names what is wrong, and takes the device when it is well. */
  async function publishWith(address: string) {
    const args = ['--device', address, '--source', 'other=/a.ts', '--lock-dir', temporaryDirectory()];
    const publisher = new PublisherProcess(['--port', '0', ...args]);
    onTestFinished(() => publisher[Symbol.asyncDispose]());
    await publisher.says(/dashboard: /);
    return publisher;
  }

  async function tuners(publisher: PublisherProcess) {
    return (await publisher.json('/api/tuners')).devices[0];
  }

  it('because it refuses: the message is clear, it is retried, and its channels come when it is there', async () => {
    const { server, url } = await device(() => {});
    server.close();
    const publisher = await publishWith(url);
    await publisher.says(/can't be reached: the connection was refused.*trying again in 1 s/);
    expect(await tuners(publisher)).toMatchObject({ reachable: false, tuners: [], refreshedAt: null });
    expect((await publisher.json('/api/public-streams')).streams.map(({ id }: Json) => id)).toEqual(['other']);
    await using late = await HdhomerunSimulator.start({ httpPort: Number(new URL(url).port) });
    await publisher.says(new RegExp(`${late.url}: 3 channels: 5.1 Harbour News`), promisedMs(8_000));
    expect(await tuners(publisher)).toMatchObject({ reachable: true, lastError: null, channels: 3 });
  });

  it.each([
    ['answers garbage', (_: unknown, response: Json) => response.end('<html>login'), /no JSON but "<html>login"/],
    ['answers something else', (_: unknown, response: Json) => response.end('{"a":1}'), /is this an HDHomeRun\?/],
    ['answers with an error', (_: unknown, response: Json) => response.writeHead(500).end(), /answered 500/],
  ] as const)('because it %s: the message says so and the rest is served', async (_, answer, message) => {
    let asked = 0;
    const { url } = await device((request, response) => {
      asked += 1;
      answer(request, response);
    });
    const publisher = await publishWith(url);
    await publisher.says(message);
    await eventually(() => expect(asked).toBeGreaterThan(1));
    expect(await tuners(publisher)).toMatchObject({ reachable: false, lastError: expect.stringMatching(message) });
    expect((await publisher.channel('other')).id).toBe('other');
  });

  it('because it hangs: it serves meanwhile, says so, and stops at once when told', async () => {
    const { url } = await device(() => {});
    const publisher = await publishWith(url);
    expect(await publisher.json('/healthz')).toEqual({ status: 'ok' });
    expect((await publisher.channel('other')).id).toBe('other');
    await publisher.says(/no answer within 3000 ms.*it has no channel yet/, promisedMs(8_000));
    const begun = performance.now();
    publisher.kill('SIGTERM');
    expect((await publisher.exited).code).toBe(0);
    expect(performance.now() - begun).toBeLessThan(promisedMs(1_000));
  });

  it('because its lineup is empty or garbage: it is read again until it is good', async () => {
    await using sick = await HdhomerunSimulator.start();
    sick.misbehave({ fault: 'empty-lineup', times: 1 });
    sick.misbehave({ fault: 'garbage-lineup', times: 1 });
    const publisher = await publishWith(sick.url);
    await publisher.says(/the lineup is empty; run a channel scan/);
    await publisher.says(/3 channels: 5.1 Harbour News/, promisedMs(8_000));
  });
});
