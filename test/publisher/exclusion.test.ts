import { SourceLock } from 'holdfast';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, PublisherProcess, processesWith, timed, Viewer } from './support.ts';

let simulator: HdhomerunSimulator;
/** The spelling of the first publisher is `http://127.0.0.1:…/auto/v5.1`, by its device's lineup. */
let second: PublisherProcess;
const lockDir = temporaryDirectory(afterAll);

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start({ tuners: 4 });
  const { port } = new URL(simulator.url);
  second = await PublisherProcess.start([
    ...['--lock-dir', lockDir, '--device', `http://localhost:${port}`],
    ...['--source', `auto=http://127.0.0.1:${port}/auto/v5.1`],
    ...['--source', `tuner=http://127.0.0.1:${port}/tuner1/v5.1`],
    ...['--source', `host=http://localhost:${port}/tuner0/v5.1?duration=3600`],
    ...['--source', `encoded=http://localhost:${port}/%61uto/v5%2E1`],
    ...['--source', `cached=cache:http://127.0.0.1:${port}/auto/v5.1`],
  ]);
  await second.says(/3 channels: 5\.1 /);
});

afterAll(async () => {
  await second[Symbol.asyncDispose]();
  await simulator.close();
});

afterEach(() => eventually(() => expect(simulator.streams()).toBe(0)));

const spellings = ['5.1', 'auto', 'tuner', 'host', 'encoded', 'cached'];
/** Of its two ids for one channel the second is read by ffmpeg. */
const startFirst = async () => {
  const args = [
    '--device',
    simulator.url,
    '--source',
    `cached=cache:${simulator.streamUrl('5.1')}`,
    '--lock-dir',
    lockDir,
  ];
  const first = await PublisherProcess.start(args);
  await first.says(/3 channels/);
  return first;
};
const encoders = () => processesWith(`:${new URL(simulator.url).port}/`).filter((pid) => commandIsFfmpeg(pid));
const commandIsFfmpeg = (pid: number) => processesWith('-mpegts_flags').includes(pid);

describe('a second publisher for the same channel', () => {
  it('is refused with 409 and the holder under every spelling, and opens no second stream', async () => {
    await using first = await startFirst();
    using viewer = await Viewer.open(`${first.url}/channels/5.1.ts`);
    await viewer.more();
    const opens = simulator.opens();
    for (const id of spellings) {
      const { status, headers, json } = await ask(`${second.url}/channels/${id}.ts`);
      expect([id, status, headers.get('content-type')]).toEqual([id, 409, 'application/problem+json']);
      expect(json).toMatchObject({ code: 'HOLDFAST_SOURCE_BUSY', channel: id, holder: { pid: first.pid } });
      const { pid, startedAt, command } = json.holder;
      expect(command).toContain('examples/publisher/main.ts');
      expect(second.output).toContain(`channel ${id}: skipped`);
      expect(second.output).toMatch(new RegExp(`pid ${pid} on \\S+ since ${startedAt}: .*examples/publisher/main.ts`));
    }
    expect(simulator.opens()).toBe(opens);
    expect(simulator.maxStreams).toBe(1);
    expect((await second.channel('tuner')).holder).toMatchObject({ pid: first.pid });
  });

  it.each([
    ['the ID of its device', () => simulator.source('5.1')],
    ['its address', () => simulator.streamUrl('5.1')],
  ])('is refused if a process holds it by %s alone', async (_, name) => {
    await using _held = await SourceLock.acquire(name(), { dir: lockDir });
    for (const id of spellings) {
      expect(await ask(`${second.url}/channels/${id}.ts`)).toMatchObject({
        status: 409,
        json: { holder: { pid: process.pid } },
      });
    }
    expect(simulator.streams()).toBe(0);
  });

  it('gets another channel of the same device meanwhile', async () => {
    await using first = await startFirst();
    using held = await Viewer.open(`${first.url}/channels/5.1.ts`);
    await held.more();
    using other = await Viewer.open(`${second.url}/channels/7.1.ts`);
    await other.more();
    expect([held.status, other.status]).toEqual([200, 200]);
  });

  it('gets the channel as soon as the first lets go', async () => {
    await using first = await startFirst();
    const held = await Viewer.open(`${first.url}/channels/5.1.ts`);
    await held.more();
    held.leave();
    await eventually(async () => expect((await first.channel('5.1')).state).toBe('idle'));
    using viewer = await Viewer.open(`${second.url}/channels/tuner.ts`);
    expect(viewer.status).toBe(200);
  });

  it('gets the channel right after the first was killed with SIGKILL, whose ffmpeg still holds it for a moment', async () => {
    const first = await startFirst();
    using held = await Viewer.open(`${first.url}/channels/cached.ts`);
    await held.more();
    expect(encoders()).toHaveLength(1);
    first.kill('SIGKILL');
    await first.exited.catch(() => {});
    using viewer = await Viewer.open(`${second.url}/channels/5.1.ts`);
    expect(viewer.status).toBe(200);
    await viewer.more();
  });

  it.each([
    ['5.1', 0],
    ['cached', 1],
  ])(
    'gets the channel at once after the first was killed with SIGKILL, whose tuner is free within 250 ms (%s)',
    async (id, processes) => {
      const first = await startFirst();
      using held = await Viewer.open(`${first.url}/channels/${id}.ts`);
      await held.more();
      expect(encoders()).toHaveLength(processes);
      first.kill('SIGKILL');
      const elapsedMs = await timed(250, async () => {
        expect(encoders()).toEqual([]);
        expect(simulator.streams()).toBe(0);
        expect(await SourceLock.inspect(simulator.source('5.1'), { dir: lockDir })).toBeUndefined();
      });
      console.log(`kill -9 to ffmpeg, tuner and lock gone: ${elapsedMs} ms`);
      using viewer = await Viewer.open(`${second.url}/channels/5.1.ts`);
      await viewer.more();
      expect(viewer.status).toBe(200);
      expect(second.output).toMatch(new RegExp(`took over .* from pid ${first.pid}, which died with it`));
      await first.exited;
    },
  );
});
