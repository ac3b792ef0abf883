import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { findFfmpeg, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { TrackWatch } from '../../examples/publisher/pipeline/track-watch.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { picturesIn, probe } from '../support/transport-stream.ts';
import { PublisherProcess, pidsOfChildren, processesWith, Viewer } from './support.ts';

const run = promisify(execFile);
const folder = temporaryDirectory(afterAll);

const recordings = new Map<string, Promise<Buffer>>();

/** Two seconds of MPEG-TS whose PIDs begin where it is told; each is made once. */
function recordingOf(firstPid: number, ...codecs: readonly string[]): Promise<Buffer> {
  const name = `${firstPid}-${codecs.join('')}.ts`;
  const made = recordings.get(name) ?? makeRecordingAt(join(folder, name), firstPid, codecs);
  recordings.set(name, made);
  return made;
}

async function makeRecordingAt(path: string, firstPid: number, codecs: readonly string[]): Promise<Buffer> {
  const input = ['-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=25', '-f', 'lavfi', '-i', 'sine', '-t', '2'];
  const mux = ['-g', '12', '-mpegts_start_pid', String(firstPid), '-f', 'mpegts', path];
  await run(findFfmpeg(), ['-v', 'error', '-y', ...input, ...codecs, ...mux]);
  return readFileSync(path);
}

const MPEG2 = ['-c:v', 'mpeg2video', '-b:v', '1M', '-c:a', 'mp2'];
const H264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-b:v', '1M', '-c:a', 'aac'];

const encodersOf = ({ pid }: PublisherProcess) => {
  const encoding = processesWith('\0aac\0');
  return pidsOfChildren(pid).filter((child) => encoding.includes(child));
};

describe('a channel whose next source has', () => {
  it.concurrent.for<[string, number, number, readonly string[], readonly string[]]>([
    ['other codecs on other PIDs', 0x100, 0x340, H264, MPEG2],
    ['other codecs on the same PIDs', 0x100, 0x100, MPEG2, H264],
    ['the same codecs on other PIDs', 0x100, 0x340, MPEG2, MPEG2],
  ])('%s is encoded on at once: no restart is counted, and its viewers stay', async (between, { onTestFinished }) => {
    const [, firstPid, secondPid, firstCodecs, secondCodecs] = between;
    const both = [recordingOf(firstPid, ...firstCodecs), recordingOf(secondPid, ...secondCodecs)] as const;
    const [a, b] = await Promise.all(both);
    await using first = await HdhomerunSimulator.start({ recording: a });
    await using second = await HdhomerunSimulator.start({ recording: b });
    const sources = JSON.stringify([first.streamUrl('5.1'), second.streamUrl('5.1')]);
    const dirs = ['--lock-dir', temporaryDirectory(onTestFinished), '--state-dir', temporaryDirectory(onTestFinished)];
    await using publisher = await PublisherProcess.start(['--source', `news=${sources}`, ...dirs]);
    using viewer = await Viewer.open(`${publisher.url}/channels/news.ts?profile=low`, { keep: true });
    await viewer.more(60_000, patienceMs(30_000));
    const [before] = encodersOf(publisher);
    first.misbehave({ fault: 'cut', channel: '5.1' });
    await eventually(() => expect([first.streams(), second.streams()]).toEqual([0, 1]), promisedMs(5_000));
    const begun = performance.now();
    viewer.chunks.length = 0;
    await eventually(() => expect(encodersOf(publisher)).not.toContain(before), patienceMs(10_000));
    await viewer.more(60_000, patienceMs(20_000));
    console.log(`from the switch to 60 kB of the other tracks: ${Math.round(performance.now() - begun)} ms`);
    const path = join(folder, `${first.url.replace(/\W/g, '')}.ts`);
    writeFileSync(path, Buffer.concat(viewer.chunks));
    const { streams } = await probe(path);
    expect(streams.map(({ codec_name }) => codec_name).sort()).toEqual(['aac', 'h264']);
    expect(picturesIn(Buffer.concat(viewer.chunks))).toBeGreaterThan(10);
    expect(viewer.isGone).toBe(false);
    expect([second.opens('5.1'), encodersOf(publisher).length]).toEqual([1, 1]);
    expect(await publisher.metric('holdfast_restarts_total')).toBe(0);
    await publisher.says(/channel news\/low: its tracks are others now, it is encoded anew/);
    expect(publisher.output).not.toMatch(/news\/low: The (stream|encoder)/);
  });
});

describe('the tracks of a stream', () => {
  const changes = (...parts: readonly Buffer[]) => {
    const watch = new TrackWatch();
    return parts.map((part) => watch.hasChanged(part));
  };

  it('are the same while its tables come again, however they are cut, and through damage', async () => {
    const stream = await recordingOf(0x100, ...MPEG2);
    const damaged = Buffer.from(stream);
    for (let at = 5_000; at < damaged.length; at += 3_331) damaged[at] = (damaged[at] as number) ^ 0x10;
    expect(changes(stream, stream.subarray(0, 30_001), stream.subarray(30_001), damaged, stream)).toEqual(
      Array(5).fill(false),
    );
  });

  it('are others where PIDs or codecs are', async () => {
    const stream = await recordingOf(0x100, ...MPEG2);
    expect(changes(stream, await recordingOf(0x340, ...MPEG2))).toEqual([false, true]);
    expect(changes(stream, await recordingOf(0x100, ...H264))).toEqual([false, true]);
    expect(changes(stream, await recordingOf(0x100, '-vn', '-c:a', 'mp2'))).toEqual([false, true]);
  });
});
