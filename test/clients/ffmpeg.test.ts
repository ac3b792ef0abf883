import { describe, expect, it } from 'vitest';
import { findFfmpeg, findFfprobe } from '../../examples/hdhomerun/index.ts';
import { ended, expectTunerFree, startHouse } from './support.ts';

const house = startHouse();
/** See `probe` of test/support/transport-stream.ts. */
const env = { ...process.env, GCONV_PATH: '/nonexistent' };

async function streams(url: string) {
  const what = ['-show_entries', 'stream=codec_name,width,height', '-of', 'json', '-analyzeduration', '4000000'];
  const { stdout, stderr } = await ended(findFfprobe(), ['-v', 'error', ...what, url], env);
  const { streams } = JSON.parse(stdout || '{}') as { streams?: { codec_name: string; height?: number }[] };
  if (!streams) throw new Error(`ffprobe: ${stderr}`);
  // Those of a program are there twice in some versions.
  return [...new Map(streams.map((stream) => [stream.codec_name, stream])).values()];
}

/** Decodes so many seconds of everything; what is wrong is told. */
const decode = (url: string, seconds: number) =>
  ended(findFfmpeg(), ['-v', 'warning', '-i', url, '-t', String(seconds), '-f', 'null', '-'], env);

describe('ffprobe', () => {
  it('finds the pictures and the sound of a channel', async () => {
    expect((await streams(house.stream('5.1'))).map(({ codec_name }) => codec_name).sort()).toEqual(['aac', 'h264']);
    await expectTunerFree(house.simulator, 1_000);
  });

  it('finds a smaller picture in the low profile, and sound alone in that of audio', async () => {
    const [low, audio] = [
      await streams(house.stream('5.1', '?profile=low')),
      await streams(house.stream('5.1', '?profile=audio')),
    ];
    expect(low.map(({ codec_name }) => codec_name).sort()).toEqual(['aac', 'h264']);
    expect(low.find(({ codec_name }) => codec_name === 'h264')?.height).toBeLessThanOrEqual(480);
    expect(audio.map(({ codec_name }) => codec_name)).toEqual(['aac']);
    await expectTunerFree(house.simulator, 1_000);
  });

  it('plays HLS', async () => {
    expect((await streams(house.hls('7.1'))).map(({ codec_name }) => codec_name).sort()).toEqual(['aac', 'h264']);
    await expectTunerFree(house.simulator, 10_000);
  });
});

describe('ffmpeg', () => {
  it.each([
    ['MPEG-TS', () => house.stream('9.1')],
    ['HLS', () => house.hls('9.1')],
  ])('decodes ten seconds of %s without a complaint', async (_, url) => {
    const { code, stderr } = await decode(url(), 10);
    expect([code, stderr]).toEqual([0, '']);
    await expectTunerFree(house.simulator, 10_000);
  });

  it('ends with an error where no tuner is free, and says the status', async () => {
    await expectTunerFree(house.simulator, 10_000);
    using _first = house.simulator.occupy(0);
    using _second = house.simulator.occupy(1);
    const { code, stderr } = await decode(house.stream('5.1'), 1);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/5XX|503/);
  });
});
