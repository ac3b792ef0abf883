import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HdhomerunSimulator, type LineupChannel } from '../../examples/hdhomerun/index.ts';
import { KeptLineups } from '../../examples/publisher/directory/kept-lineups.ts';
import { LineupDevice } from '../../examples/publisher/directory/lineup-device.ts';
import { type Remembered, remember } from '../../examples/publisher/directory/lineup-memory.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { eventually } from '../support/eventually.ts';
import { TEN_TIMES_AS_FAST } from '../support/hasty-clock.ts';
import { freePort } from '../support/ports.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PublisherProcess } from './support.ts';

const channel = (number: string): LineupChannel => ({
  ...{ number, name: `Channel ${number}`, url: `http://h/auto/v${number}` },
  ...{ hd: false, favorite: false, drm: false },
});

const lineup = (numbers: string): readonly LineupChannel[] => numbers.split('').map(channel);

/** The numbers after a read, those that are missing in it in brackets. */
const shown = (all: readonly Remembered[]) =>
  all.map(({ channel, missingMs }) => (missingMs !== undefined ? `(${channel.number})` : channel.number)).join('');

describe('the memory of a lineup', () => {
  it.each([
    [
      'one that goes is missing for two reads of each 10 s and gone at the third',
      ['123', '12', '12', '12'],
      ['123', '12(3)', '12(3)', '12'],
    ],
    ['one that comes back is as before', ['123', '12', '123'], ['123', '12(3)', '123']],
    ['one that comes is there at once', ['1', '12'], ['1', '12']],
    [
      'one that goes stays when the lineup is read often',
      ['123', '12q', '12q', '12q', '12q', '12'],
      ['123', '12(3)', '12(3)', '12(3)', '12(3)', '12(3)'],
    ],
    ['most that go at once stay', ['123', '1', '1', '1', '1'], ['123', '1(2)(3)', '1(2)(3)', '1(2)(3)', '1(2)(3)']],
    ['what is missing during a scan is not', ['123', '1s', '1s', '1s', '123'], ['123', '123', '123', '123', '123']],
    ['a missing count goes on after a scan', ['12', '1', '1s', '1', '1'], ['12', '1(2)', '1(2)', '1(2)', '1']],
  ])('%s', (_, reads, expected) => {
    let all: readonly Remembered[] = [];
    const seen = reads.map((read) => {
      const channels = lineup(read.replace(/[sq]/, ''));
      all = remember(all, { channels, isScanning: read.endsWith('s'), sinceMs: read.endsWith('q') ? 10 : 10_000 });
      return shown(all);
    });
    expect(seen).toEqual(expected);
  });

  it('believes at last that most are gone', () => {
    const read = { isScanning: false, sinceMs: 10_000 };
    let all = remember([], { ...read, channels: lineup('123') });
    for (let count = 0; count < 60; count++) all = remember(all, { ...read, channels: lineup('1') });
    expect(shown(all)).toBe('1');
  });
});

describe('a device', () => {
  it('that scans loses no channel; one that is missing after that is unavailable, then gone', async () => {
    const channels = ['5.1', '7.1', '9.1'].map((number) => ({ number, name: `Channel ${number}` }));
    await using simulator = await HdhomerunSimulator.start({ channels });
    const device = new LineupDevice(simulator.url);
    const read = async () => {
      const offers = await device.offers(new AbortController().signal);
      return offers.map(({ number, available }) => (available === false ? `(${number})` : number)).join(' ');
    };
    expect(await read()).toBe('5.1 7.1 9.1');
    channels.pop();
    await fetch(`${simulator.url}/lineup.post?scan=start`, { method: 'POST' });
    for (let again = 0; again < 4; again++) expect(await read()).toBe('5.1 7.1 9.1');
    await fetch(`${simulator.url}/lineup.post?scan=abort`, { method: 'POST' });
    for (let again = 0; again < 4; again++) expect(await read()).toBe('5.1 7.1 (9.1)');
    let at = performance.now();
    vi.spyOn(performance, 'now').mockImplementation(() => (at += 10_000));
    onTestFinished(() => void vi.restoreAllMocks());
    const reads = [await read(), await read(), await read()];
    expect(reads.at(-1)).toBe('5.1 7.1');
  });
});

describe('what is kept of lineups', () => {
  const log = createLog('json');

  it('outlives the process, with the ids of channels, and is written only if it is news', async () => {
    const dir = temporaryDirectory();
    const kept = new KeptLineups(dir, log);
    kept.keep('10.0.0.1', { deviceId: '1234ABC2', readAt: new Date(0).toISOString(), channels: [channel('5.1')] });
    kept.remember(new Map([['1234ABC2-5.1', '5.1']]));
    await kept.settled();
    const file = join(dir, 'lineups.json');
    const text = readFileSync(file, 'utf8');
    kept.keep('10.0.0.1', { deviceId: '1234ABC2', readAt: new Date(1).toISOString(), channels: [channel('5.1')] });
    await kept.settled();
    expect(readFileSync(file, 'utf8')).toBe(text);
    const again = new KeptLineups(dir, log);
    expect(again.lineup('10.0.0.1')?.channels).toMatchObject([{ number: '5.1' }]);
    expect(again.get('1234ABC2-5.1')).toBe('5.1');
  });

  it('is nothing if the file is broken', () => {
    const dir = temporaryDirectory();
    writeFileSync(join(dir, 'lineups.json'), '{"lineups":{"a":{"dev');
    expect(new KeptLineups(dir, log).lineup('a')).toBeUndefined();
  });
});

describe('a publisher whose device is down', () => {
  it('lists its channels at once as stale, under the ids they had, and takes them back', async () => {
    const [httpPort, stateDir] = [await freePort(), temporaryDirectory()];
    const args = ['--state-dir', stateDir, '--discovery', 'off', '--device', `127.0.0.1:${httpPort}`];
    const streams = async (publisher: PublisherProcess) => (await publisher.json('/api/public-streams')).streams;
    {
      await using simulator = await HdhomerunSimulator.start({ httpPort });
      await using publisher = await PublisherProcess.start(args);
      await publisher.says(/3 channels/);
      expect(simulator.url).toContain(String(httpPort));
    }
    await using publisher = new PublisherProcess(['--port', '0', ...args], {}, TEN_TIMES_AS_FAST);
    await publisher.says(/dashboard: /, patienceMs(30_000));
    const stale = ['5.1', '7.1', '9.1'].map((id) => ({ id, stale: true, available: false }));
    expect(await streams(publisher)).toMatchObject(stale);
    await using _ = await HdhomerunSimulator.start({ httpPort });
    const fresh = ['5.1', '7.1', '9.1'].map((id) => ({ id, stale: false, available: true }));
    await eventually(async () => expect(await streams(publisher)).toMatchObject(fresh), patienceMs(20_000));
  });
});

describe('a device that gives a bad lineup', () => {
  const before = temporaryDirectory(afterAll);
  let simulator: HdhomerunSimulator;
  const args = (stateDir: string) => ['--state-dir', stateDir, '--discovery', 'off', '--device', simulator.url];

  beforeAll(async () => {
    simulator = await HdhomerunSimulator.start();
    await using publisher = await PublisherProcess.start(args(before));
    await publisher.says(/3 channels/);
  });
  afterAll(() => simulator.close());
  afterEach(() => simulator.heal());

  it.each(['empty-lineup', 'garbage-lineup', 'hang-lineup', 'error-5xx', 'reset'] as const)(
    '(%s) loses no channel, not even over a restart of the publisher',
    async (fault) => {
      const stateDir = temporaryDirectory();
      cpSync(before, stateDir, { recursive: true });
      simulator.misbehave({ fault });
      await using publisher = new PublisherProcess(['--port', '0', ...args(stateDir)]);
      await publisher.says(/the 3 of its last lineup stay listed/, patienceMs(30_000));
      const { streams } = await publisher.json('/api/public-streams');
      expect(streams.map(({ id }: { id: string }) => id)).toEqual(['5.1', '7.1', '9.1']);
    },
  );
});
