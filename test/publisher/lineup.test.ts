import { networkInterfaces } from 'node:os';
import { expect, it } from 'vitest';
import { DeviceClient, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ family }) => family === 'IPv6'));

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
