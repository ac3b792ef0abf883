import { expect, it } from 'vitest';
import type { Channel } from '../../examples/publisher/channel/channel.ts';
import type { PublishedDevice } from '../../examples/publisher/device/published-device.ts';
import { PublishedVariables } from '../../examples/publisher/device/variables.ts';
import { VirtualTuners } from '../../examples/publisher/device/virtual-tuners.ts';
import { plainAddress } from '../../examples/publisher/http/viewers.ts';

it('who locks a tuner by IPv4 through a socket of IPv6 may use it, and is told by that address', () => {
  const tuners = new VirtualTuners([], () => 1);
  const variables = new PublishedVariables({ tuners } as PublishedDevice);
  const peer = '::ffff:192.168.1.5';
  expect(variables.setTuner(0, 'lockkey', { value: '4711', lockKey: undefined, peer })).toBeUndefined();
  expect(variables.tuner(0)?.lockkey).toBe('192.168.1.5');
  const channel = { hub: { state: 'idle', stats: () => ({ bytesIn: 0 }) } } as unknown as Channel;
  expect(tuners.takeNumber(0, channel, plainAddress('192.168.1.6'))).toBeUndefined();
  using use = tuners.takeNumber(0, channel, plainAddress(peer));
  expect(use?.resource).toBe('tuner0');
  expect(tuners.states[0]?.address).toBe('192.168.1.5');
  expect(plainAddress('2001:db8::5%eth0')).toBe('2001:db8::5');
});
