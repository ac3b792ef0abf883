import { readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { DeviceClient, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import type { Channel } from '../../examples/publisher/channel/channel.ts';
import { Lineup, type Mark } from '../../examples/publisher/device/lineup.ts';
import type { DirectoryEntry } from '../../examples/publisher/directory/directory.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ family }) => family === 'IPv6'));

it('what the operator has settled of a channel counts more than what a player marked', async () => {
  const entries: Pick<DirectoryEntry, 'id' | 'number' | 'favorite' | 'settled'>[] = [
    { id: 'free', number: '1', favorite: false },
    { id: 'shown', number: '2', settled: { favorite: undefined, enabled: true } },
    { id: 'liked', number: '3', favorite: true, settled: { favorite: true, enabled: undefined } },
  ];
  const channels = entries.map((entry) => ({ entry }) as Channel);
  const lineup = new Lineup(channels, temporaryDirectory(), createLog('json'));
  const marks = ['x', 'x', '-'] as const;
  for (const [index, entry] of lineup.entries.entries()) await lineup.mark(entry, marks[index] as Mark);
  expect(lineup.entries.map(({ favorite, enabled }) => ({ favorite, enabled }))).toEqual([
    { favorite: false, enabled: false },
    { favorite: false, enabled: true },
    { favorite: true, enabled: true },
  ]);
});

it('of ten thousand numbers that were made the first are forgotten, none of a channel that there is, and not given away', async () => {
  const channels: Channel[] = [];
  const dir = temporaryDirectory();
  const numbers = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, index) => [`c${index}`, String(9_001 + index)]),
  );
  writeFileSync(join(dir, 'lineup.json'), JSON.stringify({ numbers, marks: {} }));
  const lineup = new Lineup(channels, dir, createLog('json'));
  const add = (id: string) => {
    channels.push({ entry: { id, number: null } } as Channel);
    return lineup.entries.find(({ channel }) => channel.entry.id === id)?.number;
  };
  expect([add('c0'), add('new'), add('c9999'), add('newer'), add('c1')]).toEqual([
    ...['9001', '19001', '19000', '19002', '19003'],
  ]);
  await lineup.settled();
  const kept = JSON.parse(readFileSync(join(dir, 'lineup.json'), 'utf8'));
  expect(Object.keys(kept.numbers)).toHaveLength(10_000);
});

it('made numbers have five digits: after the last the first that is free is next', async () => {
  const dir = temporaryDirectory();
  const numbers = { a: '9001', b: '99998', c: '1e300', d: 'x' };
  writeFileSync(join(dir, 'lineup.json'), JSON.stringify({ numbers, marks: {} }));
  const channels = ['new', 'newer'].map((id) => ({ entry: { id, number: null } }) as Channel);
  const lineup = new Lineup(channels, dir, createLog('json'));
  expect(lineup.entries.map(({ number, channel }) => [channel.entry.id, number])).toEqual([
    ['newer', '9002'],
    ['new', '99999'],
  ]);
  await lineup.settled();
});

it('names of a lineup have no control characters', async () => {
  const channels = [{ number: '7.1\x1b', name: ' \x1b[2JGranite\r\n10:00:00 dashboard:\x9b Sport' }];
  await using simulator = await HdhomerunSimulator.start({ channels });
  const device = await DeviceClient.at(simulator.url);
  expect(await device.lineup()).toMatchObject([{ number: '7.1', name: '[2JGranite 10:00:00 dashboard:  Sport' }]);
});

it.runIf(hasIpv6)('a simulator on every address has one that can be asked', async () => {
  await using simulator = await HdhomerunSimulator.start({ bind: '::' });
  expect(simulator.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
  const device = await DeviceClient.at(simulator.url);
  const [channel] = await device.lineup();
  expect(channel?.url).toBe(simulator.streamUrl('5.1'));
});
