import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  DeviceClient,
  DeviceError,
  DeviceResponseError,
  DeviceUnreachableError,
  streamUrl,
} from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { read, startServer, startSimulator } from './support.ts';

const DEVICE = { DeviceID: '1234abc2', FriendlyName: 'HDHomeRun EXTEND', TunerCount: 2 };
const CHANNEL = { GuideNumber: '5.1', GuideName: 'One', URL: 'http://127.0.0.1:5004/auto/v5.1' };

/** A device whose documents are these; a function answers by itself. */
function startDevice(documents: Record<string, unknown>): Promise<string> {
  return startServer((request, response) => {
    const document = documents[request.url ?? ''];
    if (typeof document === 'function') return void document(request, response);
    response.end(typeof document === 'string' ? document : JSON.stringify(document));
  });
}

describe('finding a device', () => {
  test('at an address it is described, by URL, host and port, or with a path that belongs to a page of it', async () => {
    const url = await startDevice({ '/discover.json': DEVICE });
    for (const address of [url, new URL(url).host, `${url}/lineup.html`, new URL(url)]) {
      const device = await DeviceClient.at(address);
      expect(device.deviceId).toBe('1234ABC2');
      expect(device.description).toMatchObject({ friendlyName: 'HDHomeRun EXTEND', tunerCount: 2 });
    }
  });

  test('by discovery it is found and then read', async () => {
    const simulator = await startSimulator({ discoveryPort: 0 });
    const devices = await DeviceClient.discover({ address: '127.0.0.1', port: simulator.discoveryPort });
    expect(devices.map(({ deviceId }) => deviceId)).toEqual([simulator.deviceId]);
  });

  test('what is no address is refused with what was given', async () => {
    await expect(DeviceClient.at('ftp://box')).rejects.toThrow('received ftp://box');
    await expect(DeviceClient.at('not a host')).rejects.toThrow(TypeError);
  });

  test('an address where nothing listens is unreachable and may be tried again', async () => {
    const refused = DeviceClient.at(`127.0.0.1:${await freePort()}`);
    await expect(refused).rejects.toMatchObject({ code: 'HDHOMERUN_DEVICE_UNREACHABLE', retryable: true });
    await expect(refused).rejects.toThrow('ECONNREFUSED');
  });

  test('one that never answers is unreachable after the time-out, whether it hangs before or in its answer', async () => {
    const silent = await startDevice({ '/discover.json': () => {} });
    await expect(DeviceClient.at(silent, { timeoutMs: 50 })).rejects.toThrow('no answer within 50 ms');
    const halfway = await startDevice({
      '/discover.json': (_request: unknown, response: NodeJS.WritableStream) => response.write('{"Device'),
    });
    await expect(DeviceClient.at(halfway, { timeoutMs: 50 })).rejects.toThrow(DeviceUnreachableError);
  });

  test('an abort rejects with its reason, before and during the request', async () => {
    const silent = await startDevice({ '/discover.json': () => {} });
    const reason = new Error('no longer wanted');
    await expect(DeviceClient.at(silent, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const waiting = DeviceClient.at(silent, { signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    await expect(waiting).rejects.toBe(reason);
  });

  test.each([
    ['a page', '<html>login</html>', 'no JSON but "<html>login</html>"'],
    ['nothing', '', 'no JSON but nothing'],
    ['another device', { name: 'printer' }, 'DeviceID: '],
    ['a wrong DeviceID', { DeviceID: 'tuner' }, 'DeviceID: must be 8 hex digits; is this an HDHomeRun?'],
    ['too much', 'x'.repeat(70_000), 'larger than 65536 bytes'],
  ])('%s instead of its description is named in the error', async (_what, document, message) => {
    const url = await startDevice({ '/discover.json': document });
    const garbage = DeviceClient.at(url);
    await expect(garbage).rejects.toThrow(DeviceResponseError);
    await expect(garbage).rejects.toThrow(message);
  });

  test('credentials in its URL are in no error', async () => {
    const url = await startDevice({ '/discover.json': '<html>' });
    const withSecret = url.replace('http://', 'http://admin:hunter2@');
    const messages = await Promise.all(
      [withSecret, `http://admin:hunter2@127.0.0.1:${await freePort()}`].map((address) =>
        DeviceClient.at(address).catch((error) => `${error.message} ${error.stack}`),
      ),
    );
    expect(messages.join()).not.toContain('hunter2');
  });
});

describe('its lineup', () => {
  const lineupOf = async (lineup: unknown) => {
    const url = await startDevice({ '/discover.json': DEVICE, '/lineup.json': lineup });
    return (await DeviceClient.at(url)).lineup();
  };

  test('is read in this code’s own names', async () => {
    const [channel] = await lineupOf([{ ...CHANNEL, HD: 1, DRM: 1, VideoCodec: 'MPEG2' }]);
    const expected = { number: '5.1', name: 'One', url: CHANNEL.URL, hd: true, favorite: false, drm: true };
    expect(channel).toMatchObject({ ...expected, videoCodec: 'MPEG2' });
  });

  test('that is empty is an error that says what to do', async () => {
    await expect(lineupOf([])).rejects.toThrow('the lineup is empty; run a channel scan');
  });

  test('with broken entries is the others', async () => {
    const broken = [null, 7, {}, { ...CHANNEL, URL: 'javascript:alert(1)' }, { ...CHANNEL, GuideNumber: 5 }];
    expect(await lineupOf([...broken, CHANNEL])).toHaveLength(1);
  });

  test.each([[[{ ...CHANNEL, URL: 'nowhere' }]], [{ error: 'busy' }], ['garbage'], [[7]]])(
    'that is %o is a DeviceResponseError',
    async (lineup) => expect(lineupOf(lineup)).rejects.toThrow(DeviceResponseError),
  );

  test('gives URLs for one tuner and a limited time', () => {
    const channel = { url: 'http://127.0.0.1:5004/auto/v5.1' };
    expect(streamUrl(channel)).toBe(channel.url);
    expect(streamUrl(channel, { tuner: 1 })).toBe('http://127.0.0.1:5004/tuner1/v5.1');
    expect(streamUrl(channel, { durationSeconds: 9 })).toBe('http://127.0.0.1:5004/auto/v5.1?duration=9');
  });
});

describe('its refusals', () => {
  const refusedWith = async (status: number, headers: Record<string, string> = {}) => {
    const url = await startServer((request, response) => {
      if (request.url === '/discover.json') return void response.end(JSON.stringify(DEVICE));
      response.writeHead(status, headers).end();
    });
    const device = await DeviceClient.at(url);
    return device.openStream({ ...CHANNEL, number: '5.1', url: `${url}/auto/v5.1` } as never).catch((error) => error);
  };

  test.each([
    [404, '801 Unknown Channel', 'UnknownChannelError', false],
    [503, '803 System Busy', 'SystemBusyError', true],
    [503, '804 Tuner In Use', 'TunerInUseError', true],
    [503, '805 All Tuners In Use', 'AllTunersInUseError', true],
    [503, '806 Tune Failed', 'TuneFailedError', true],
    [503, '807 No Video Data', 'NoVideoDataError', true],
    [403, '811 Content Protection Required', 'ContentProtectedError', false],
    [503, '899 Something New', 'DeviceError', true],
    [404, '', 'UnknownChannelError', false],
    [500, '', 'DeviceError', true],
    [400, '', 'DeviceError', false],
    [302, '', 'DeviceError', false],
  ])('%i with "%s" is a %s, retryable: %s', async (status, header, name, retryable) => {
    const error = await refusedWith(status, header ? { 'X-HDHomeRun-Error': header } : {});
    expect(error).toBeInstanceOf(DeviceError);
    expect(error).toMatchObject({ name, status, retryable });
    expect(error.deviceCode).toBe(header ? Number.parseInt(header, 10) : undefined);
    expect(error.message).toContain(header);
  });

  test('carry the wait that the device asks for', async () => {
    expect(await refusedWith(503, { 'Retry-After': '7' })).toMatchObject({ retryAfterMs: 7000 });
    expect(await refusedWith(503, { 'Retry-After': 'soon' })).not.toHaveProperty('retryAfterMs', expect.anything());
  });

  test('can be a page that comes as a success', async () => {
    const error = await refusedWith(200, { 'Content-Type': 'text/html' });
    expect(error).toBeInstanceOf(DeviceResponseError);
    expect(error.message).toContain('text/html, no MPEG-TS');
  });
});

describe('its streams', () => {
  test('come from the tuner that was asked for and end when they are destroyed', async () => {
    const simulator = await startSimulator();
    const device = await DeviceClient.at(simulator.url);
    const { stream, resource } = await device.openStream('5.1', { tuner: 1 });
    expect(resource).toBe('tuner1');
    expect((await read(stream, 188))[0]).toBe(0x47);
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('end with an abort, which frees the tuner', async () => {
    const simulator = await startSimulator();
    const device = await DeviceClient.at(simulator.url);
    const controller = new AbortController();
    const { stream } = await device.openStream('5.1', { signal: controller.signal });
    const failed = once(stream.resume(), 'error');
    controller.abort();
    expect((await failed)[0]).toMatchObject({ name: 'AbortError' });
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('that do not start in time are given up and their tuner is free', async () => {
    const simulator = await startSimulator();
    simulator.misbehave({ fault: 'slow-start' });
    const device = await DeviceClient.at(simulator.url);
    await expect(device.openStream('5.1', { timeoutMs: 100 })).rejects.toThrow('no answer within 100 ms');
    await eventually(() => expect(simulator.streams()).toBe(0));
    expect(simulator.opens('5.1')).toBe(1);
  });

  test('of a channel that is not in the lineup are refused by the device', async () => {
    const device = await DeviceClient.at((await startSimulator()).url);
    await expect(device.openStream('55.5')).rejects.toMatchObject({ deviceCode: 801 });
  });
});
