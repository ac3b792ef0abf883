import { join } from 'node:path';
import { LockDirectoryError, ProcessPool, SourceBusyError, SourceLock } from 'holdfast';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { findFfmpeg } from '../../examples/hdhomerun/index.ts';
import type { Gate } from '../../examples/publisher/channel/source-entry.ts';
import { SourceList } from '../../examples/publisher/channel/source-list.ts';
import { SourceReader } from '../../examples/publisher/channel/source-reader.ts';
import { SourceWalk, type WalkParts } from '../../examples/publisher/channel/source-walk.ts';
import { Switches } from '../../examples/publisher/channel/switches.ts';
import { createControls } from '../../examples/publisher/controls.ts';
import { type Failure, failureOf } from '../../examples/publisher/failure.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { makeRecording } from './support.ts';

const FAILURE: Failure = { status: 502, title: 'The source could not be read', detail: 'it is gone' };
const DUPLICATE = new SourceBusyError('url:holdfast-publisher:channel/0123456789abcdef', undefined);
const log = createLog('json', undefined, { level: 'error' });

/** A channel of two sources, the first of which failed before, and how its openings end and the time that each had. */
function channelOf({ isSecondRefused = false, errors = [new Error('it hangs')] as readonly Error[] } = {}) {
  const controls = createControls({ maxProcesses: 1, restartCooldownMs: 0 }, log);
  onTestFinished(() => controls[Symbol.asyncDispose]());
  const refusal = { allowed: false, why: 'cooldown', retryAfterMs: 60_000 } as const;
  const gate: Gate = ({ key }) => (isSecondRefused && key === '/b.ts' ? refusal : { allowed: true });
  const list = new SourceList(gate, () => 0);
  list.update(['/a.ts', '/b.ts'].map((url, rank) => ({ key: url, rank, source: { url } })));
  const had: number[] = [];
  const reader = {
    open: (_source: unknown, _name: string, { startTimeoutMs }: { startTimeoutMs: number }) => {
      had.push(startTimeoutMs);
      return Promise.reject(errors[had.length - 1]);
    },
  };
  const { supervisor } = controls;
  const parts = { id: 'a', list, reader, supervisor, log, switches: new Switches(), ended: () => {} };
  const walk = new SourceWalk(parts as unknown as WalkParts);
  const open = () =>
    walk.open('a', { signal: new AbortController().signal, startTimeoutMs: 30_000 }).catch((error) => error);
  return { list, had, open };
}

describe('a source that failed before', () => {
  it.each([
    ['all of the time to start if there is no other', true, 20_000, 27_000],
    ['little of it if there is', false, 0, 4_000],
  ])('and is read again has %s', async (_, isSecondRefused, least, most) => {
    const errors = [new Error('it hangs'), new Error('it hangs as well')];
    const { list, had, open } = channelOf({ isSecondRefused, errors });
    list.failed(list.all[0] as (typeof list.all)[0], FAILURE, 0);
    await open();
    expect(had[0]).toBeGreaterThan(least);
    expect(had[0]).toBeLessThanOrEqual(most);
  });
});

describe('who sees none of the sources is told', () => {
  it('that another publisher reads the channel, whatever its sources said', async () => {
    expect(await channelOf({ errors: [new Error('it hangs'), DUPLICATE] }).open()).toBe(DUPLICATE);
  });

  it('what this host lacks before that', async () => {
    const error = await channelOf({ errors: [DUPLICATE, new LockDirectoryError('/locks', 'it is full')] }).open();
    expect(failureOf(error)).toMatchObject({ status: 502, detail: expect.stringContaining('it is full') });
  });
});

it('a source that can not be ended keeps its own lock, and leaves that of the channel to the next', async () => {
  const folder = temporaryDirectory();
  const [recording, dir] = [join(folder, 'recording.ts'), join(folder, 'locks')];
  await makeRecording(recording);
  await using pool = new ProcessPool({ max: 1 });
  const acquire = vi.spyOn(SourceLock, 'acquire');
  onTestFinished(() => void acquire.mockRestore());
  const settings = { lockDir: dir, stallTimeoutMs: 10_000, ffmpeg: findFfmpeg, controls: { pool } };
  const reader = new SourceReader('a', settings, log, () => ({}));
  const channel = 'holdfast-publisher:channel/0123456789abcdef';
  const { signal } = new AbortController();
  const terms = { signal, startTimeoutMs: patienceMs(10_000), isAskedFirst: false, alsoHolds: [channel] };
  const read = await reader.open({ url: recording }, 'a', terms);
  const own = await SourceLock.inspect(recording, { dir });
  expect(own?.children).toHaveLength(1);
  const whole = await SourceLock.inspect(channel, { dir });
  expect([whole?.pid, whole?.children]).toEqual([process.pid, undefined]);
  expect([...reader.openedKeys].sort()).toEqual([own?.key, whole?.key].sort());

  const locks = await Promise.all(acquire.mock.results.map(({ value }) => value as Promise<SourceLock>));
  const survivor = locks.find(({ key }) => key === own?.key)?.hold();
  const disposed = read[Symbol.asyncDispose]();
  await eventually(async () => expect(await SourceLock.inspect(channel, { dir })).toBeUndefined(), promisedMs(2_000));
  expect(await SourceLock.inspect(recording, { dir })).toMatchObject({ pid: process.pid });
  survivor?.end();
  await disposed;
  expect(await SourceLock.list({ dir })).toEqual([]);
});
