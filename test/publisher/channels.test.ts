import { rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { sourceKey } from 'holdfast';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import type { Channel } from '../../examples/publisher/channel/channel.ts';
import { Channels } from '../../examples/publisher/channel/channels.ts';
import { type Controls, createControls } from '../../examples/publisher/controls.ts';
import { DIRECTORY_TTL_MS, type DirectoryEntry } from '../../examples/publisher/directory/directory.ts';
import { channelView, publicStream } from '../../examples/publisher/http/views.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { HardwareEncoders } from '../../examples/publisher/pipeline/hardware.ts';
import { eventually } from '../support/eventually.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { makeRecording, pidsOfChildren, processesWith } from './support.ts';

let channels: Channels;
let controls: Controls;
let folder: string;
let recording: string;
/** The sentences of the log. */
let said: string[];

beforeEach(async () => {
  folder = temporaryDirectory();
  recording = join(folder, 'recording.ts');
  await makeRecording(recording);
  said = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((line) => said.push(JSON.parse(String(line)).msg) > 0);
  const log = createLog('json');
  controls = createControls({ maxProcesses: 8, restartCooldownMs: 0 }, log);
  const settings = {
    lockDir: join(folder, 'locks'),
    closeAfterMs: 0,
    startTimeoutMs: 5_000,
    stallTimeoutMs: 10_000,
    failoverAfterMs: 2_500,
    preferAfterMs: 60_000,
    ffmpeg: findFfmpeg,
    controls,
    encoders: new HardwareEncoders({ wanted: () => 'none', ffmpeg: findFfmpeg, log }),
    deinterlace: true,
  };
  channels = new Channels(settings, log);
});

afterEach(async () => {
  vi.useRealTimers();
  await channels[Symbol.asyncDispose]();
  await controls[Symbol.asyncDispose]();
  vi.restoreAllMocks();
});

function entry(id: string, expiresInMs = 30_000): DirectoryEntry {
  const expiresAt = new Date(Date.now() + expiresInMs);
  return { id, ids: [id], name: id, number: null, sources: [{ url: recording }], updatedAt: new Date(), expiresAt };
}

const encoders = () => pidsOfChildren(process.pid).filter((pid) => processesWith('-mpegts_flags').includes(pid));

describe('the channels', () => {
  it('follow the directory: one that is removed ends with its viewers, one that is renewed keeps them', async () => {
    channels.sync([entry('a'), entry('b')]);
    const a = channels.get('a');
    const viewer = a?.hub.pipe(new PassThrough().resume());
    await viewer?.live;
    channels.sync([entry('a')]);
    expect(channels.get('a')).toBe(a);
    expect(channels.get('b')).toBeUndefined();
    expect(a?.hub.subscribers).toBe(1);
    channels.sync([]);
    expect(await viewer?.ended).toMatchObject({ reason: 'closed' });
    await a?.hub.close();
    expect(encoders()).toEqual([]);
  });

  it('past their ttl are listed as stale and unavailable', () => {
    channels.sync([entry('fresh'), entry('old', -1)]);
    const streams = [...channels].map((channel) => publicStream(channel, 'http://h:1/'));
    expect(streams).toMatchObject([
      { id: 'fresh', url: 'http://h:1/channels/fresh.ts', available: true, stale: false },
      { id: 'old', available: false, stale: true },
    ]);
  });

  it('on the same source exclude each other in one process too', async () => {
    channels.sync([entry('a'), entry('b')]);
    await channels.get('a')?.hub.pipe(new PassThrough().resume()).live;
    const { error } = (await channels.get('b')?.hub.pipe(new PassThrough()).ended) ?? {};
    expect(error).toMatchObject({ code: 'HOLDFAST_SOURCE_BUSY', holder: { pid: process.pid } });
    expect(channels.get('b')?.lastError).toMatchObject({
      status: 409,
      title: 'Another channel of this publisher holds this source',
      detail: expect.stringMatching(/^another channel of this publisher reads file:\S+ already/),
    });
  });

  it('of which one can not be looked at hide no other, and that one says why when it is opened', async () => {
    const loop = join(folder, 'loop.ts');
    symlinkSync(loop, loop);
    channels.sync([{ ...entry('loop'), sources: [{ url: loop }] }, entry('a')]);
    const holder = {
      key: sourceKey(recording),
      path: '',
      pid: 1,
      host: '',
      startedAt: '',
      command: '',
      verified: 'kernel' as const,
    };
    const views = [...channels].map((channel) => channelView(channel, [holder]));
    expect(views).toMatchObject([
      { id: 'loop', holder: null },
      { id: 'a', holder: { pid: 1 } },
    ]);
    const { error } = (await channels.get('loop')?.hub.pipe(new PassThrough()).ended) ?? {};
    expect(String(error)).toContain('ELOOP');
  });

  it('are offered again one ttl after they failed', async () => {
    channels.sync([{ ...entry('gone', 3 * DIRECTORY_TTL_MS), sources: [{ url: join(folder, 'gone.ts') }] }]);
    const gone = channels.get('gone');
    await gone?.hub.pipe(new PassThrough()).ended;
    await eventually(() => expect([gone?.lastError?.status, gone?.refusal]).toEqual([502, undefined]));
    vi.useFakeTimers({ toFake: ['Date'], now: Number(gone?.lastError?.at) + DIRECTORY_TTL_MS - 1 });
    expect(gone?.isAvailable).toBe(false);
    vi.setSystemTime(Date.now() + 1);
    expect(gone?.isAvailable).toBe(true);
  });

  it('whose viewers wait for where it was are opened at once where it is now', async () => {
    // It takes longer than the wait that the change has to cut short.
    const elsewhere = join(folder, 'elsewhere.ts');
    await makeRecording(elsewhere);
    channels.sync([entry('a')]);
    const a = channels.get('a') as Channel;
    const viewer = a.hub.pipe(new PassThrough().resume());
    await viewer.live;
    rmSync(recording);
    for (const pid of encoders()) process.kill(pid, 'SIGKILL');
    await eventually(() => expect([a.hub.state, a.refusal?.why]).toEqual(['opening', 'backoff']), promisedMs(10_000));
    const waits = () => said.filter((sentence) => sentence.includes('its viewers wait')).length;
    const before = waits();
    channels.sync([{ ...entry('a'), sources: [{ url: elsewhere }] }]);
    await eventually(() => expect(a.hub.state).toBe('live'), promisedMs(3_000));
    expect([waits(), said.findLast((sentence) => sentence.includes('opening'))]).toEqual([
      before,
      `channel a: opening ${elsewhere}`,
    ]);
  });

  it('are live since their newest opening, and say that they closed, when they are wanted again while they close', async () => {
    channels.sync([entry('a')]);
    const a = channels.get('a') as Channel;
    const leaving = a.hub.pipe(new PassThrough().resume());
    await leaving.live;
    expect(a.liveSince).toBeInstanceOf(Date);
    await leaving[Symbol.asyncDispose]();
    expect(a.hub.state).toBe('closing');
    const back = a.hub.pipe(new PassThrough().resume());
    expect(a.liveSince).toBeUndefined();
    await eventually(() => expect(a.hub.stats()).toMatchObject({ openings: 2, state: 'opening' }));
    expect(a.liveSince).toBeUndefined();
    expect(said.filter((line) => /closed|opening/.test(line))).toEqual([
      expect.stringContaining('opening'),
      'channel a: closed',
      expect.stringContaining('opening'),
    ]);
    await back.live;
    expect(a.liveSince).toBeInstanceOf(Date);
  });

  it('are in the order of the directory, whichever was known first', () => {
    channels.sync([entry('b')]);
    const b = channels.get('b');
    channels.sync([entry('a'), entry('b')]);
    expect([...channels].map((channel) => channel.entry.id)).toEqual(['a', 'b']);
    expect(channels.get('b')).toBe(b);
  });

  it('that were removed are gone when all are', async () => {
    channels.sync([entry('a')]);
    const viewer = channels.get('a')?.hub.pipe(new PassThrough().resume());
    await viewer?.live;
    channels.sync([]);
    expect(encoders()).toHaveLength(1);
    await channels[Symbol.asyncDispose]();
    expect(encoders()).toEqual([]);
  });
});
