import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { DISCOVERY_PORT } from '../../examples/hdhomerun/index.ts';
import { debianProgram } from '../support/debian.ts';
import { startSimulator } from './support.ts';

const program = await debianProgram('hdhomerun_config', ['hdhomerun-config']);

/** The real client asks no other port than 65001: an address of our own keeps test runs apart. */
const address = `127.65.${(process.pid >> 8) & 0xff}.${process.pid & 0xff || 1}`;

async function run(...args: string[]): Promise<string> {
  const { path, env } = program as NonNullable<typeof program>;
  const { stdout } = await promisify(execFile)(path, args, { env }).catch((failure) => failure);
  return stdout.trim();
}

test.skipIf(!program)('the real hdhomerun_config discovers the simulator and reads its variables', async () => {
  const simulator = await startSimulator({ bind: address, discoveryPort: DISCOVERY_PORT });
  expect(await run('discover', address)).toBe(`hdhomerun device ${simulator.deviceId} found at ${address}`);
  expect(await run(address, 'get', '/sys/model')).toBe('hdhomerun4_atsc');
  expect(await run(address, 'get', '/tuner0/status')).toBe('ch=none lock=none ss=0 snq=0 seq=0 bps=0 pps=0');
  expect(await run(address, 'get', 'help')).toContain('/tuner<n>/status');
  expect(await run(address, 'get', '/nope')).toBe('ERROR: unknown getset variable');

  const response = await fetch(simulator.streamUrl('7.1'));
  expect(await run(address, 'get', '/tuner0/status')).toMatch(/^ch=8vsb:479000000 lock=8vsb ss=\d+/);
  expect(await run(address, 'get', '/tuner0/vchannel')).toBe('7.1');
  await response.body?.cancel();
});
