import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import { Channels } from '../../examples/publisher/channels.ts';
import type { DirectoryEntry } from '../../examples/publisher/directory.ts';
import { publicStream } from '../../examples/publisher/http/views.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { childrenOf, makeRecording, processesWith, tempDir } from './support.ts';

let channels: Channels;
let recording: string;

beforeEach(async () => {
  const folder = tempDir();
  recording = join(folder, 'recording.ts');
  await makeRecording(recording);
  const log = createLog('pretty');
  log.level = 'silent';
  const settings = { lockDir: join(folder, 'locks'), closeAfterMs: 0, startTimeoutMs: 5_000, ffmpeg: findFfmpeg };
  channels = new Channels(settings, log);
});

afterEach(() => channels[Symbol.asyncDispose]());

function entry(id: string, expiresInMs = 30_000): DirectoryEntry {
  const expiresAt = new Date(Date.now() + expiresInMs);
  return { id, ids: [id], name: id, number: null, url: recording, updatedAt: new Date(), expiresAt };
}

const encoders = () => childrenOf(process.pid).filter((pid) => processesWith('-mpegts_flags').includes(pid));

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
    expect(channels.get('b')?.lastError).toMatchObject({ status: 409 });
  });
});
