import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { ClosedError, ManagedChild } from 'holdfast';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { Channels } from '../../examples/publisher/channel/channels.ts';
import type { Hardware } from '../../examples/publisher/config/schema.ts';
import { createControls } from '../../examples/publisher/controls.ts';
import { failureOf } from '../../examples/publisher/failure.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { HardwareEncoders } from '../../examples/publisher/pipeline/hardware.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { makeRecording, pidsOfChildren, processesWith } from './support.ts';

let folder: string;
/** The sentences of the log. */
let said: string[];
/** What the fake was called with, a line each. */
const calls = () => readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n').filter(Boolean);

beforeEach(() => {
  folder = temporaryDirectory();
  writeFileSync(join(folder, 'calls'), '');
  said = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((line) => said.push(JSON.parse(String(line)).msg) > 0);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/**
 * An ffmpeg whose hardware is a script: a kind works in the trial if it is in `inTrial`, and fails with what it is to
 * encode. All else is done by the real one.
 */
function ffmpegWith(...inTrial: readonly string[]): () => string {
  const path = join(folder, 'ffmpeg');
  const cases = inTrial.map((kind) => `*h264_${kind}*"-frames:v 2"*) exit 0 ;;`);
  const script = `#!/bin/sh
echo "$*" >> ${join(folder, 'calls')}
case "$*" in
${cases.join('\n')}
*h264_vaapi*|*h264_qsv*|*h264_nvenc*|*h264_v4l2m2m*) echo "[h264] the driver is on strike" >&2; exit 1 ;;
*) exec ${findFfmpeg()} "$@" ;;
esac
`;
  writeFileSync(path, script, { mode: 0o755 });
  return () => path;
}

/** Stands for `/dev`. */
function devices(...names: readonly string[]): string {
  const dev = join(folder, 'dev');
  mkdirSync(join(dev, 'dri'), { recursive: true });
  for (const name of names) writeFileSync(join(dev, name), '');
  return dev;
}

const encoders = (wanted: Hardware, ffmpeg: () => string, dev: string) =>
  new HardwareEncoders({ wanted: () => wanted, ffmpeg, log: createLog('json'), devices: dev });

/** The processes that stand for an ffmpeg that never ends. */
const trials = () => {
  const sleeping = processesWith('sleep\u00008\u0000');
  return pidsOfChildren(process.pid).filter((pid) => sleeping.includes(pid));
};

describe('what encodes', () => {
  it('is the first that really encodes here, tried once and not before it is needed', async () => {
    const dev = devices('dri/renderD128', 'dri/renderD129', 'nvidia0');
    const found = encoders('auto', ffmpegWith('vaapi'), dev);
    expect(calls()).toEqual([]);
    const vaapi = { kind: 'vaapi', device: join(dev, 'dri/renderD128') };
    expect(await Promise.all([found.encoder(), found.encoder()])).toEqual([vaapi, vaapi]);
    expect(await found.encoder()).toEqual(vaapi);
    // nvenc, qsv on both, and vaapi on the first.
    expect(calls()).toHaveLength(4);
    expect(said).toContain('pictures are encoded by vaapi');
  });

  it('is the processor where there is no device, and nothing is tried', async () => {
    const found = encoders('auto', ffmpegWith('vaapi', 'nvenc'), devices());
    expect(await found.encoder()).toEqual({ kind: 'software' });
    expect([calls(), said]).toEqual([[], []]);
  });

  it('is the processor where no device works, and it is said why', async () => {
    const found = encoders('auto', ffmpegWith(), devices('video0'));
    expect(await found.encoder()).toEqual({ kind: 'software' });
    expect(said).toEqual([expect.stringMatching(/^v4l2m2m: .*the driver is on strike; the processor encodes instead/)]);
  });

  it('is the processor for none, whatever there is', async () => {
    const found = encoders('none', ffmpegWith('nvenc'), devices('nvidia0'));
    expect(await found.encoder()).toEqual({ kind: 'software' });
    expect(calls()).toEqual([]);
  });

  it('that is named and does not work is an error that says why, each time anew', async () => {
    const found = encoders('qsv', ffmpegWith(), devices('dri/renderD128'));
    for (const _ of [1, 2]) {
      const error = await found.encoder().catch((reason) => reason);
      const { status, code, detail } = failureOf(error);
      expect([status, code]).toEqual([502, 'PUBLISHER_HARDWARE']);
      expect(detail).toMatch(/^--hardware qsv does not work here: qsv on \S+renderD128: .*the driver is on strike/);
    }
    expect(calls()).toHaveLength(2);
    const none = await encoders('nvenc', ffmpegWith(), devices()).encoder().catch(String);
    expect(none).toContain('--hardware nvenc does not work here: there is no device for it in /dev');
  });

  it('that another is wanted by now is looked for again', async () => {
    let wanted: Hardware = 'none';
    const terms = { ffmpeg: ffmpegWith('nvenc'), log: createLog('json'), devices: devices('nvidia0') };
    const found = new HardwareEncoders({ ...terms, wanted: () => wanted });
    expect(await found.encoder()).toEqual({ kind: 'software' });
    wanted = 'nvenc';
    expect(await found.encoder()).toEqual({ kind: 'nvenc' });
  });

  it('is given up only if it is what is used by now', async () => {
    let wanted: Hardware = 'nvenc';
    const terms = {
      ffmpeg: ffmpegWith('nvenc', 'v4l2m2m'),
      log: createLog('json'),
      devices: devices('nvidia0', 'video0'),
    };
    const found = new HardwareEncoders({ ...terms, wanted: () => wanted });
    const former = await found.encoder();
    wanted = 'v4l2m2m';
    const present = await found.encoder();
    found.giveUp(former, 'late');
    expect(await found.encoder()).toBe(present);
    found.giveUp(present, 'now');
    expect(await found.encoder()).toEqual({ kind: 'software' });
  });

  it('that ended is kept if it still encodes, and given up if it does not', async () => {
    const found = encoders('nvenc', ffmpegWith('nvenc'), devices('nvidia0'));
    const encoder = await found.encoder();
    await found.doubt(encoder, 'the stream was bad');
    expect(await found.encoder()).toBe(encoder);
    ffmpegWith();
    await found.doubt(encoder, 'the driver is gone');
    expect(await found.encoder()).toEqual({ kind: 'software' });
    expect(said.at(-1)).toMatch(/^nvenc failed, .*the driver is gone/);
  });

  it('is the processor while a driver keeps what is tried from ending, and that ends with the publisher', async () => {
    const path = join(folder, 'ffmpeg');
    writeFileSync(path, '#!/bin/sh\nexec sleep 8\n', { mode: 0o755 });
    const found = encoders('nvenc', () => path, devices('nvidia0'));
    expect(await found.encoder()).toEqual({ kind: 'software' });
    expect(said).toEqual([expect.stringMatching(/still tried, the processor encodes meanwhile/)]);
    expect(trials()).toHaveLength(1);
    await found[Symbol.asyncDispose]();
    expect(trials()).toEqual([]);
  });

  it('that is tried again when the publisher stops is not said to have failed', async () => {
    const ffmpeg = ffmpegWith('nvenc');
    const found = encoders('nvenc', ffmpeg, devices('nvidia0'));
    const encoder = await found.encoder();
    writeFileSync(ffmpeg(), '#!/bin/sh\nexec sleep 8\n', { mode: 0o755 });
    const doubt = found.doubt(encoder, 'its stream was bad').catch((error) => error);
    await eventually(() => expect(trials()).toHaveLength(1));
    await found[Symbol.asyncDispose]();
    expect(await doubt).toBeInstanceOf(ClosedError);
    expect(said).toEqual(['pictures are encoded by nvenc']);
  });

  it('that a driver keeps from ending neither delays the stop nor makes it fail', async () => {
    const found = encoders('nvenc', ffmpegWith('nvenc'), devices('nvidia0'));
    vi.spyOn(ManagedChild, 'spawn').mockReturnValue(new Promise(() => {}));
    const waiting = found.encoder().catch((error) => error);
    const begun = performance.now();
    await found[Symbol.asyncDispose]();
    expect(performance.now() - begun).toBeLessThan(promisedMs(4_000));
    expect(await waiting).toBeInstanceOf(ClosedError);
  });

  it('is tried once for all who doubt it at a time, and by few processes whatever is doubted', async () => {
    const all = ['nvidia0', 'video0', 'dri/renderD128'];
    const wanted = ['nvenc', 'v4l2m2m', 'vaapi', 'qsv'] as const;
    let now: Hardware = 'none';
    ffmpegWith(...wanted);
    const terms = { ffmpeg: () => join(folder, 'ffmpeg'), log: createLog('json'), devices: devices(...all) };
    await using found = new HardwareEncoders({ ...terms, wanted: () => now });
    now = 'nvenc';
    const nvenc = await found.encoder();
    const before = calls().length;
    await Promise.all(Array.from({ length: 10 }, () => found.doubt(nvenc, 'its stream was bad')));
    expect(calls().length - before).toBe(1);
    writeFileSync(terms.ffmpeg(), '#!/bin/sh\nexec sleep 8\n', { mode: 0o755 });
    const searches = wanted.map((kind) => {
      now = kind === 'nvenc' ? 'auto' : kind;
      return found.encoder().catch(() => {});
    });
    await eventually(() => expect(trials()).toHaveLength(2));
    await throughout(200, () => expect(trials().length).toBeLessThanOrEqual(2));
    await found[Symbol.asyncDispose]();
    await Promise.all(searches);
    expect(trials()).toEqual([]);
  });
});

async function channelWith(ffmpeg: () => string, found: HardwareEncoders) {
  const recording = join(folder, 'recording.ts');
  await makeRecording(recording);
  const log = createLog('json');
  const controls = createControls({ maxProcesses: 8, restartCooldownMs: 0 }, log);
  const channels = new Channels(
    {
      ...{
        lockDir: join(folder, 'locks'),
        closeAfterMs: 0,
        startTimeoutMs: patienceMs(15_000),
        stallTimeoutMs: 10_000,
      },
      ...{ failoverAfterMs: 2_500, preferAfterMs: 60_000, deinterlace: true, ffmpeg, controls },
      encoders: found,
    },
    log,
  );
  onTestFinished(async () => {
    await channels[Symbol.asyncDispose]();
    await controls[Symbol.asyncDispose]();
  });
  const dates = { updatedAt: new Date(), expiresAt: new Date(Date.now() + 60_000) };
  channels.sync([{ id: 'a', ids: ['a'], name: 'a', number: null, sources: [{ url: recording }], ...dates }]);
  return channels.get('a');
}

it('a rendition of sound alone needs no hardware', async () => {
  const ffmpeg = ffmpegWith();
  const channel = await channelWith(ffmpeg, encoders('nvenc', ffmpeg, devices()));
  await channel?.rendition('audio').pipe(new PassThrough().resume()).live;
});

it('hardware is kept if the processor can not encode the stream either', async () => {
  const path = join(folder, 'ffmpeg');
  const script = `#!/bin/sh\ncase "$*" in *pipe:0*) exit 1 ;; *frames:v*) exit 0 ;; *) exec ${findFfmpeg()} "$@" ;; esac\n`;
  writeFileSync(path, script, { mode: 0o755 });
  const found = encoders('nvenc', () => path, devices('nvidia0'));
  const channel = await channelWith(() => path, found);
  const { error } = (await channel?.rendition('low').pipe(new PassThrough().resume()).ended) ?? {};
  expect(failureOf(error).status).toBe(502);
  expect(await found.encoder()).toEqual({ kind: 'nvenc' });
});

it('a rendition whose hardware fails is encoded by the processor, which is said once', async () => {
  const ffmpeg = ffmpegWith('vaapi');
  const channel = await channelWith(ffmpeg, encoders('auto', ffmpeg, devices('dri/renderD128')));
  for (const profile of ['low', 'tiny'] as const) {
    const viewer = channel?.rendition(profile).pipe(new PassThrough().resume());
    await viewer?.live;
  }
  await eventually(() => expect(said.filter((sentence) => /encoded by software$/.test(sentence))).toHaveLength(2));
  expect(said.filter((sentence) => /^vaapi failed, the processor encodes from now on/.test(sentence))).toEqual([
    expect.stringContaining('the driver is on strike'),
  ]);
  const [tried] = calls().filter((call) => call.includes('h264_vaapi') && call.includes('pipe:0'));
  expect(tried).toContain(`-init_hw_device vaapi=hw:${join(folder, 'dev/dri/renderD128')} -filter_hw_device hw`);
  expect(tried).toMatch(/-vf bwdif=\S+,scale=\S+,format=nv12,hwupload /);
});
