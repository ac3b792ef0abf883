import { once } from 'node:events';
import { beforeAll, describe, expect, test } from 'vitest';
import { DeviceClient, type Fault, type HdhomerunSimulator, makeRecording } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs } from '../support/promised.ts';
import { inspectTransportStream } from '../support/transport-stream.ts';
import { read, readFor, startSimulator } from './support.ts';

let recording: Buffer;

beforeAll(async () => {
  recording = await makeRecording({ size: { width: 160, height: 90 } });
});

/** Whichever way the bytes come, the faults are the same. */
const encodings = ['per-stream', 'shared'] as const;
let encoding: (typeof encodings)[number];

async function start(): Promise<{ simulator: HdhomerunSimulator; device: DeviceClient }> {
  const simulator = await startSimulator({ encoding, recording: encoding === 'shared' ? recording : undefined });
  const device = await DeviceClient.at(simulator.url);
  await device.lineup();
  return { simulator, device };
}

describe.each(encodings)('a device (%s) told to misbehave', (each) => {
  beforeAll(() => {
    encoding = each;
  });

  test.each<[Fault, object]>([
    ['busy', { name: 'AllTunersInUseError' }],
    ['system-busy', { name: 'SystemBusyError' }],
    ['tune-failed', { name: 'TuneFailedError' }],
    ['error-5xx', { name: 'DeviceError', status: 500 }],
    ['reset', { name: 'DeviceUnreachableError' }],
    ['hang', { name: 'DeviceUnreachableError' }],
  ])('with %s refuses streams of that channel only, as often as ordered, and takes no tuner', async (fault, error) => {
    const { simulator, device } = await start();
    simulator.misbehave({ fault, channel: '5.1', times: 1 });
    const other = await device.openStream('7.1');
    await expect(
      device.openStream('5.1', { timeoutMs: fault === 'hang' ? 300 : patienceMs(5_000) }),
    ).rejects.toMatchObject(error);
    expect(simulator.opens('5.1')).toBe(0);
    const again = await device.openStream('5.1');
    for (const { stream } of [other, again]) stream.destroy();
  });

  test('without video holds the tuner for its wait and then refuses with 807', async () => {
    const { simulator, device } = await start();
    simulator.misbehave({ fault: 'no-video', afterMs: 50 });
    const refused = device.openStream('5.1');
    await eventually(() => expect(simulator.streams('5.1')).toBe(1));
    await expect(refused).rejects.toMatchObject({ name: 'NoVideoDataError' });
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('with a slow start streams after its wait', async () => {
    const { simulator, device } = await start();
    simulator.misbehave({ fault: 'slow-start', afterMs: 300 });
    const asked = performance.now();
    const { stream } = await device.openStream('5.1');
    expect(performance.now() - asked).toBeGreaterThan(290);
    expect((await read(stream, 188))[0]).toBe(0x47);
  });

  test('stalls a running stream without closing it, and goes on when healed', async () => {
    const { simulator, device } = await start();
    const { stream } = await device.openStream('5.1');
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    await eventually(() => expect(bytes).toBeGreaterThan(0));
    simulator.misbehave({ fault: 'stall', channel: '5.1' });
    const stalled = await eventually(() => quiet(() => bytes, 200));
    expect(stream.destroyed).toBe(false);
    expect(simulator.streams('5.1')).toBe(1);
    simulator.heal();
    await eventually(() => expect(bytes).toBeGreaterThan(stalled));
    stream.destroy();
  });

  test('tears a running stream, which is an error to its reader and frees the tuner', async () => {
    const { simulator, device } = await start();
    simulator.misbehave({ fault: 'cut', afterMs: 200 });
    const { stream } = await device.openStream('5.1');
    const [error] = await once(stream.resume(), 'error');
    expect(error).toMatchObject({ code: 'ECONNRESET' });
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('ends a running stream as if it were complete', async () => {
    const { simulator, device } = await start();
    simulator.misbehave({ fault: 'end', afterMs: 200 });
    const { stream } = await device.openStream('5.1');
    await once(stream.resume(), 'end');
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('sends garbage in a stream', async () => {
    const { simulator, device } = await start();
    simulator.misbehave({ fault: 'garbage', times: 1 });
    const { stream } = await device.openStream('5.1');
    expect(inspectTransportStream(await readFor(stream, 500)).syncErrors).toBeGreaterThan(10);
    const healthy = await device.openStream('5.1');
    expect(inspectTransportStream(await read(healthy.stream, 20_000)).syncErrors).toBe(0);
  });

  test.each<[Fault, string]>([
    ['empty-lineup', 'the lineup is empty'],
    ['garbage-lineup', 'no JSON but'],
    ['hang-lineup', 'no answer within 200 ms'],
    ['error-5xx', 'answered 500'],
    ['reset', 'ECONNRESET'],
  ])('with %s gives no lineup, and gives it again when healed', async (fault, message) => {
    const { simulator, device } = await start();
    simulator.misbehave({ fault });
    const timeoutMs = fault === 'hang-lineup' ? 200 : patienceMs(5_000);
    await expect(device.lineup({ timeoutMs })).rejects.toThrow(message);
    simulator.heal();
    expect(await device.lineup()).toHaveLength(3);
  });

  test('describes itself with garbage', async () => {
    const { simulator } = await start();
    simulator.misbehave({ fault: 'garbage-discover', times: 1 });
    await expect(DeviceClient.at(simulator.url)).rejects.toThrow('no JSON but');
    expect((await DeviceClient.at(simulator.url)).deviceId).toBe(simulator.deviceId);
  });
});

/** The value once it has stayed the same for this long. */
async function quiet(value: () => number, forMs: number): Promise<number> {
  const before = value();
  await new Promise((resolve) => setTimeout(resolve, forMs));
  expect(value()).toBe(before);
  return before;
}
