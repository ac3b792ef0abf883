import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { DeviceClient, HdhomerunSimulator, isValidDeviceId } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { isRunning } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream, probe } from '../support/transport-stream.ts';
import { readFor, startSimulator } from './support.ts';

/** A stand-in for ffmpeg. */
function program(script: string): string {
  const path = `${temporaryDirectory()}/ffmpeg`;
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

describe('documents', () => {
  test('discover.json has the fields of a real device in their order, and its headers', async () => {
    const simulator = await startSimulator();
    const response = await fetch(`${simulator.url}/discover.json`);
    expect(response.headers.get('server')).toBe('HDHomeRun/1.0');
    expect(response.headers.get('content-type')).toBe('application/json; charset="utf-8"');
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    const document = (await response.json()) as Record<string, unknown>;
    expect(Object.keys(document).join()).toBe(
      'FriendlyName,ModelNumber,FirmwareName,FirmwareVersion,DeviceID,DeviceAuth,BaseURL,LineupURL,TunerCount',
    );
    expect(document).toMatchObject({
      BaseURL: simulator.url,
      LineupURL: `${simulator.url}/lineup.json`,
      TunerCount: 2,
    });
    expect(isValidDeviceId(document.DeviceID as string)).toBe(true);
  });

  test('the lineup is there as JSON, XML and M3U, and HD, Favorite and DRM only when set', async () => {
    const simulator = await startSimulator({
      channels: [
        { number: '5.1', name: 'Fish & Chips', favorite: true },
        { number: '6', name: 'Locked', drm: true },
      ],
    });
    const get = async (path: string) => (await fetch(`${simulator.url}/${path}`)).text();
    const common = { VideoCodec: 'H264', AudioCodec: 'AAC' };
    expect(JSON.parse(await get('lineup.json?show=found'))).toEqual([
      { GuideNumber: '5.1', GuideName: 'Fish & Chips', ...common, Favorite: 1, URL: simulator.streamUrl('5.1') },
      { GuideNumber: '6', GuideName: 'Locked', ...common, DRM: 1, URL: simulator.streamUrl('6') },
    ]);
    expect(await get('lineup.xml')).toContain('<GuideName>Fish &amp; Chips</GuideName>');
    expect(await get('lineup.m3u')).toContain(
      '#EXTINF:-1 channel-id="5.1" channel-number="5.1" tvg-name="Fish & Chips",5.1 Fish & Chips\n',
    );
  });

  test('a scan shows its progress; a post that says nothing is refused', async () => {
    const simulator = await startSimulator();
    const status = async () => (await fetch(`${simulator.url}/lineup_status.json`)).json();
    const idle = { ScanInProgress: 0, ScanPossible: 1, Source: 'Antenna', SourceList: ['Antenna', 'Cable'] };
    const post = async (query: string) =>
      (await fetch(`${simulator.url}/lineup.post${query}`, { method: 'POST' })).status;
    expect(await status()).toEqual(idle);
    expect(await post('?scan=start&source=Antenna')).toBe(200);
    expect(await status()).toMatchObject({
      ScanInProgress: 1,
      Progress: expect.any(Number),
      Found: expect.any(Number),
    });
    expect(await post('?scan=abort')).toBe(200);
    expect(await status()).toEqual(idle);
    expect(await post('')).toBe(400);
  });

  test('status.json names the channel and client of a busy tuner, and of an idle one only its resource', async () => {
    const simulator = await startSimulator();
    const device = await DeviceClient.at(simulator.url);
    const { stream } = await device.openStream('7.1');
    const json = await (await fetch(`${simulator.url}/status.json`)).json();
    expect(json).toEqual([
      expect.objectContaining({
        Resource: 'tuner0',
        VctNumber: '7.1',
        VctName: 'Granite Sport',
        TargetIP: '127.0.0.1',
      }),
      { Resource: 'tuner1' },
    ]);
    expect((await device.status())[0]).toMatchObject({ resource: 'tuner0', channel: '7.1', targetIp: '127.0.0.1' });
    stream.destroy();
  });

  test.each(['/nope', '/nope/v5.1', '/tuner/v5.1', '/auto/5.1', '/../etc/passwd'])('%s is not found', async (path) => {
    const simulator = await startSimulator();
    expect((await fetch(simulator.url + path)).status).toBe(404);
  });
});

describe('streams', () => {
  test('real ffprobe finds one video, one audio and the name of the channel', async () => {
    const simulator = await startSimulator();
    const { programs, streams } = await probe(simulator.streamUrl('5.1'));
    expect(streams.map(({ codec_type, codec_name }) => `${codec_type} ${codec_name}`)).toEqual([
      'video h264',
      'audio aac',
    ]);
    expect(programs[0]?.tags?.service_name).toBe('Harbour News');
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('five seconds arrive in real time, whole packets from the PAT on, without a break in continuity', async () => {
    const simulator = await startSimulator({ size: { width: 480, height: 270 } });
    const device = await DeviceClient.at(simulator.url);
    const { stream } = await device.openStream('5.1');
    const report = inspectTransportStream(await readFor(stream, 5000));
    expect(report).toMatchObject({ syncErrors: 0, continuityErrors: 0, serviceName: 'Harbour News' });
    expect([...report.pids.keys()].slice(0, 2)).toEqual([0x11, 0]);
    const videoPackets = report.pids.get(0x100) ?? 0;
    expect(videoPackets * 188 * 8).toBeGreaterThan(5 * 300_000);
    expect(videoPackets * 188 * 8).toBeLessThan(8 * 900_000);
  });

  test('one with a duration ends by itself, cleanly, and frees its tuner', async () => {
    const simulator = await startSimulator();
    const response = await fetch(`${simulator.streamUrl('5.1')}?duration=1`);
    expect(response.headers.get('content-type')).toBe('video/mpeg');
    expect(response.headers.get('transfermode.dlna.org')).toBe('Streaming');
    expect(response.headers.get('content-length')).toBeNull();
    expect(response.headers.get('x-hdhomerun-resource')).toBe('tuner0');
    const report = inspectTransportStream(Buffer.from(await response.arrayBuffer()));
    expect(report).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  test('a channel is also found by frequency and program', async () => {
    const simulator = await startSimulator();
    const response = await fetch(`${simulator.url}/auto/ch479000000-1?duration=1`);
    expect(simulator.opens('7.1')).toBe(1);
    await response.body?.cancel();
  });

  test.each([
    ['/auto/v55.5', 404, '801 Unknown Channel'],
    ['/auto/v5.1?transcode=huge', 404, '802 Unknown Transcode Profile'],
    ['/auto/v6.1', 403, '811 Content Protection Required'],
    ['/auto/v5.1?duration=never', 400, null],
    ['/tuner7/v5.1', 503, '804 Tuner In Use'],
  ])('%s is refused with %i and %s', async (path, status, header) => {
    const channels = [
      { number: '5.1', name: 'One' },
      { number: '6.1', name: 'Locked', drm: true },
    ];
    const simulator = await startSimulator({ channels });
    const response = await fetch(simulator.url + path);
    expect(response.status).toBe(status);
    expect(response.headers.get('x-hdhomerun-error')).toBe(header);
    expect(simulator.opens()).toBe(0);
  });

  test('HEAD takes no tuner', async () => {
    const simulator = await startSimulator();
    expect((await fetch(simulator.streamUrl('5.1'), { method: 'HEAD' })).status).toBe(200);
    expect(simulator.opens()).toBe(0);
  });
});

describe('tuners', () => {
  test('with both in use the third stream is refused with 805, one for a busy tuner with 804', async () => {
    const simulator = await startSimulator();
    const device = await DeviceClient.at(simulator.url);
    const streams = await Promise.all([device.openStream('5.1'), device.openStream('7.1')]);
    await expect(device.openStream('9.1')).rejects.toMatchObject({ name: 'AllTunersInUseError', status: 503 });
    await expect(device.openStream('9.1', { tuner: 0 })).rejects.toMatchObject({ name: 'TunerInUseError' });
    expect(simulator.streams()).toBe(2);
    for (const { stream } of streams) stream.destroy();
    await eventually(() => expect(simulator.streams()).toBe(0));
    expect(simulator.opens()).toBe(2);
    expect(simulator.maxStreams).toBe(2);
  });

  test('a tuner is free within 250 ms after its client left, and its ffmpeg is gone within a second', async () => {
    const simulator = await startSimulator();
    const device = await DeviceClient.at(simulator.url);
    const { stream } = await device.openStream('5.1');
    const [pid = 0] = simulator.pids();
    const left = performance.now();
    stream.destroy();
    await eventually(() => expect(simulator.tuners()[0]?.holder).toBeUndefined());
    expect(performance.now() - left).toBeLessThan(promisedMs(250));
    await eventually(() => expect(isRunning(pid)).toBe(false));
    expect(performance.now() - left).toBeLessThan(promisedMs(1000));
  });

  test('an ffmpeg is gone after its client left, also while the client did not read', async () => {
    const simulator = await startSimulator();
    const socket = connect(Number(new URL(simulator.url).port), '127.0.0.1').pause();
    socket.write('GET /auto/v5.1 HTTP/1.1\r\nHost: x\r\n\r\n');
    const pid = await eventually(() => {
      const [running] = simulator.pids();
      if (running === undefined) throw new Error('no ffmpeg yet');
      return running;
    });
    socket.destroy();
    await eventually(() => expect(isRunning(pid)).toBe(false), promisedMs(1_000));
    expect(simulator.streams()).toBe(0);
  });

  test.each([
    ['gives nothing', 'exec sleep 60'],
    ['ignores the request to end', "trap '' TERM; while :; do head -c 18800 /dev/zero; sleep 0.02; done"],
  ])('an ffmpeg that %s is gone soon after its client left', async (_how, script) => {
    const simulator = await startSimulator({ ffmpeg: program(script) });
    const device = await DeviceClient.at(simulator.url);
    const controller = new AbortController();
    const opening = device.openStream('5.1', { signal: controller.signal }).catch(() => {});
    const pid = await eventually(() => {
      const [running] = simulator.pids();
      if (running === undefined) throw new Error('no ffmpeg yet');
      return running;
    });
    const opened = script.startsWith('trap') ? await opening : undefined;
    opened?.stream.on('error', () => {}).resume();
    controller.abort();
    await eventually(() => expect(isRunning(pid)).toBe(false), promisedMs(1_000));
    expect(simulator.streams()).toBe(0);
  });

  test('clients that leave at any moment of the start leak no tuner and no ffmpeg', async () => {
    const simulator = await startSimulator();
    const device = await DeviceClient.at(simulator.url);
    await device.lineup();
    for (const timeoutMs of [1, 5, 10, 15, 20, 25, 30, 40, 60]) {
      await device.openStream('5.1', { timeoutMs }).then(
        ({ stream }) => stream.destroy(),
        () => {},
      );
    }
    await eventually(() => expect([simulator.streams(), simulator.pids()]).toEqual([0, []]));
  });

  test('one that is occupied from outside is in use until it is given back', async () => {
    const simulator = await startSimulator({ tuners: 1 });
    const device = await DeviceClient.at(simulator.url);
    const occupied = simulator.occupy(0, '10.0.0.7');
    await expect(device.openStream('5.1')).rejects.toMatchObject({ deviceCode: 805 });
    expect((await device.status())[0]).toMatchObject({ targetIp: '10.0.0.7' });
    expect(() => simulator.occupy(0)).toThrow('tuner must be the number of a free tuner, received 0');
    occupied[Symbol.dispose]();
    const { stream } = await device.openStream('5.1');
    stream.destroy();
  });
});

describe('the simulator itself', () => {
  test('closing ends its streams and waits for every ffmpeg to be gone', async () => {
    const simulator = await startSimulator();
    const device = await DeviceClient.at(simulator.url);
    const { stream } = await device.openStream('5.1');
    stream.on('error', () => {}).resume();
    const [pid = 0] = simulator.pids();
    await Promise.all([simulator.close(), simulator.close()]);
    expect(isRunning(pid)).toBe(false);
    await eventually(() => expect(stream.closed).toBe(true));
  });

  test('an abort of its signal closes it', async () => {
    const controller = new AbortController();
    const simulator = await startSimulator({ signal: controller.signal });
    controller.abort();
    await eventually(() => expect(fetch(simulator.url)).rejects.toThrow());
  });

  test('documents and streams can have a port each, as on a real device', async () => {
    const simulator = await startSimulator({ streamPort: 0, httpPort: 0, bind: '127.0.0.1' });
    expect(new URL(simulator.streamUrl('5.1')).port).toBe(new URL(simulator.url).port);
    const other = await startSimulator({ streamPort: await freePort() });
    expect(new URL(other.streamUrl('5.1')).port).not.toBe(new URL(other.url).port);
    expect((await fetch(other.streamUrl('55.5'))).headers.get('x-hdhomerun-error')).toBe('801 Unknown Channel');
  });

  test('a port that is taken is an error, and nothing is left open', async () => {
    const simulator = await startSimulator();
    const httpPort = Number(new URL(simulator.url).port);
    await expect(HdhomerunSimulator.start({ httpPort })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  test.each([0, 33, 1.5])('%d tuners are refused by name and value', async (tuners) => {
    await expect(HdhomerunSimulator.start({ tuners })).rejects.toThrow(`received ${tuners}`);
  });

  test('an ffmpeg that ends at once is a failed tuning with the cause told to the operator', async () => {
    const failures: unknown[] = [];
    const onStreamFailure = (error: unknown) => failures.push(error);
    const simulator = await startSimulator({ ffmpeg: '/bin/false', onStreamFailure });
    const device = await DeviceClient.at(simulator.url);
    await expect(device.openStream('5.1')).rejects.toMatchObject({ name: 'TuneFailedError' });
    const missing = await startSimulator({ ffmpeg: `${temporaryDirectory()}/ffmpeg`, onStreamFailure });
    await expect((await DeviceClient.at(missing.url)).openStream('5.1')).rejects.toMatchObject({ deviceCode: 806 });
    expect(failures).toMatchObject([{ name: 'ChildExitError' }, { name: 'SpawnError' }]);
    expect(simulator.streams() + missing.streams()).toBe(0);
  });
});
