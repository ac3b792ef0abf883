import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  DeviceClient,
  findFfmpeg,
  HdhomerunSimulator,
  makeRecording,
  Recording,
  RecordingLoop,
} from '../../examples/hdhomerun/index.ts';
import { ContinuityChecker } from '../support/continuity.ts';
import { eventually } from '../support/eventually.ts';
import { isUnderLoad } from '../support/promised.ts';
import { inspectTransportStream, probe } from '../support/transport-stream.ts';
import { readFor, startSimulator } from './support.ts';

const TICKS_PER_SECOND = 90_000;
let recorded: Buffer;

beforeAll(async () => {
  recorded = await makeRecording({ size: { width: 160, height: 90 }, megabits: 0.5 });
});

/** So many seconds of the recording as a program of its own. */
function looped(seconds: number, index = 0, firstTicks = 0): Buffer {
  const loop = new RecordingLoop(new Recording(recorded), { index, name: `Channel ${index}` }, firstTicks);
  const chunks: Buffer[] = [];
  for (let ticks = 1_799; ticks < seconds * TICKS_PER_SECOND; ticks += 1_800) chunks.push(loop.takeUntil(ticks));
  return Buffer.concat(chunks);
}

function checked(bytes: Buffer): ContinuityChecker {
  const checker = new ContinuityChecker();
  // In pieces that cut packets anywhere.
  for (let at = 0; at < bytes.length; at += 10_007) checker.write(bytes.subarray(at, at + 10_007));
  return checker;
}

describe('a recording in a loop', () => {
  test('goes on where it begins again: counters, clocks and times, and ffmpeg decodes every picture', () => {
    // Three rounds, so that the last picture is whole.
    const bytes = looped(24);
    const checker = checked(bytes);
    expect([checker.errors, checker.troubles]).toEqual([0, []]);
    expect(checker.clockSeconds).toBeGreaterThan(23.9);
    const args = ['-v', 'warning', '-f', 'mpegts', '-i', 'pipe:0', '-fps_mode', 'passthrough', '-f', 'framehash', '-'];
    const { stdout, stderr } = spawnSync(findFfmpeg(), args, { input: bytes, encoding: 'utf8' });
    const times = (stream: number) =>
      stdout
        .split('\n')
        .filter((line) => line.startsWith(`${stream},`))
        .map((line) => Number(line.split(',')[2]));
    expect(stderr).toBe('');
    for (const stream of [0, 1]) {
      const steps = times(stream).map((time, nth, all) => time - (all[nth - 1] ?? time));
      expect(steps.length).toBe(stream === 0 ? 600 : 1125);
      expect(new Set(steps.slice(1)).size).toBe(1);
    }
  });

  test('is as fast as it was recorded for', () => {
    expect(new Recording(recorded).bitrate / 1e6).toBeCloseTo(0.5, 1);
    expect((looped(16).length * 8) / 16e6).toBeCloseTo(0.5, 1);
  });

  test('lets its times wrap as those of a station do', () => {
    const bytes = looped(12, 3, 2 ** 33 - 5 * TICKS_PER_SECOND);
    expect(checked(bytes)).toMatchObject({ errors: 0, troubles: [] });
  });

  test('is a program of its own for each channel: name, number and PIDs', () => {
    const [first, second] = [inspectTransportStream(looped(2)), inspectTransportStream(looped(2, 1))];
    expect([first.serviceName, second.serviceName]).toEqual(['Channel 0', 'Channel 1']);
    const shared = [...first.pids.keys()].filter((pid) => second.pids.has(pid));
    expect(shared.sort()).toEqual([0, 0x11]);
  });

  test.each([
    ['no MPEG-TS', () => Buffer.alloc(188 * 4, 1), 'recording must be MPEG-TS, there is no packet at byte 0'],
    ['nothing', () => Buffer.alloc(0), 'recording must have a program (PAT and PMT)'],
    ['one picture', () => recorded.subarray(0, 188 * 8), 'recording must have two pictures or more'],
  ])('is refused if it is %s, and told why', async (_what, make, why) => {
    await expect(HdhomerunSimulator.start({ recording: make() })).rejects.toThrow(why);
  });

  test.each([0.2, 51, Number.NaN])('of %d megabits is refused by name and value', async (megabits) => {
    await expect(makeRecording({ megabits })).rejects.toThrow(`megabits must be from 0.3 to 50, received ${megabits}`);
  });
});

describe('a simulator that shares one encoding', () => {
  test('sends it to 20 channels in real time, each without a break, and runs no ffmpeg', async () => {
    const channels = Array.from({ length: 20 }, (_, nth) => ({ number: `${nth + 1}.1`, name: `Channel ${nth}` }));
    const simulator = await startSimulator({ tuners: 20, channels, recording: recorded });
    const device = await DeviceClient.at(simulator.url);
    const opened = await Promise.all(channels.map(({ number }) => device.openStream(number)));
    const checkers = opened.map(({ stream }) => {
      const checker = new ContinuityChecker();
      stream.on('data', (chunk: Buffer) => checker.write(chunk));
      return checker;
    });
    const begun = performance.now();
    // Past the end of the recording, whose begin follows.
    await eventually(() => {
      for (const checker of checkers) expect(checker.clockSeconds).toBeGreaterThan(8.5);
    }, 30_000);
    const elapsedSeconds = (performance.now() - begun) / 1000;
    expect(elapsedSeconds).toBeGreaterThan(8);
    if (!isUnderLoad) expect(elapsedSeconds).toBeLessThan(10);
    for (const checker of checkers) expect(checker).toMatchObject({ errors: 0, troubles: [] });
    expect(simulator.pids()).toEqual([]);
    expect(simulator.streams()).toBe(20);
    for (const { stream } of opened) stream.destroy();
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('makes it by itself, and ffprobe knows each channel by its name', async () => {
    const simulator = await startSimulator({ encoding: 'shared', megabits: 0.5 });
    for (const [number, name] of [
      ['5.1', 'Harbour News'],
      ['7.1', 'Granite Sport'],
    ] as const) {
      const { programs, streams } = await probe(simulator.streamUrl(number));
      expect(streams.map(({ codec_name }) => codec_name)).toEqual(['h264', 'aac']);
      expect(programs[0]?.tags?.service_name).toBe(name);
    }
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('ends a stream with a duration by itself, and frees its tuner', async () => {
    const simulator = await startSimulator({ recording: recorded });
    const response = await fetch(`${simulator.streamUrl('5.1')}?duration=1`);
    const report = inspectTransportStream(Buffer.from(await response.arrayBuffer()));
    expect(report).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
    expect(report.packets * 188 * 8).toBeGreaterThan(300_000);
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('drops what a client does not take, and ends with that client', async () => {
    const fast = await makeRecording({ size: { width: 160, height: 90 }, megabits: 50 });
    const simulator = await startSimulator({ recording: fast });
    const socket = connect(Number(new URL(simulator.url).port), '127.0.0.1').pause();
    socket.write('GET /auto/v5.1 HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually(() => expect(simulator.streams()).toBe(1));
    const device = await DeviceClient.at(simulator.url);
    const { stream } = await device.openStream('5.1');
    await readFor(stream, 3_000);
    socket.destroy();
    await eventually(() => expect(simulator.streams()).toBe(0));
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(300e6);
  });
});
