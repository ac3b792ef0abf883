import { request } from 'node:http';
import { SourceLock } from 'holdfast';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CHANNELS, type Fault, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { childrenOf } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream } from '../support/transport-stream.ts';
import { type Answer, ask, PublisherProcess, Viewer } from './support.ts';

const lockDir = temporaryDirectory(afterAll);
let simulator: HdhomerunSimulator;
let publisher: PublisherProcess;

beforeAll(async () => {
  const channels = [...DEFAULT_CHANNELS, { number: '11.1', name: 'Safe', drm: true }];
  simulator = await HdhomerunSimulator.start({ channels, size: { width: 160, height: 90 } });
  publisher = await publish(
    ...['--source', `safe=${simulator.streamUrl('11.1')}`, '--source', `gone=${simulator.streamUrl('99.9')}`],
    ...['--restart-cooldown-ms', '0', '--start-timeout-ms', String(promisedMs(2_000)), '--tuner-count', '2'],
  );
  await publisher.says(/3 channels: 5\.1 /);
});

afterAll(async () => {
  await publisher[Symbol.asyncDispose]();
  await simulator.close();
});

afterEach(() => {
  simulator.heal();
  return eventually(async () => {
    expect(simulator.streams()).toBe(0);
    expect(await publisher.json('/status.json')).toEqual([{ Resource: 'tuner0' }, { Resource: 'tuner1' }]);
  });
});

function publish(...flags: readonly string[]): Promise<PublisherProcess> {
  return PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir, ...flags]);
}

const encoders = () => childrenOf(publisher.pid).filter(({ command }) => command.includes('ffmpeg'));
const at = (path: string) => publisher.url + path;

/** The refusal of a stream: the status, and what a player of HDHomeRuns is told. */
async function refusal(path: string, from = publisher): Promise<[status: number, error: string | null]> {
  const { status, headers } = await ask(from.url + path);
  return [status, headers.get('x-hdhomerun-error')];
}

/** Who watches a channel that has failed before, as soon as the publisher tries it again. */
function served(path: string): Promise<Viewer> {
  return eventually(async () => {
    const viewer = await Viewer.open(at(path));
    if (viewer.status !== 200) viewer.leave();
    expect(viewer.status).toBe(200);
    return viewer;
  });
}

/** The refusal of a source that has failed before, as soon as the publisher tries it again. */
function refusalOfTrying(path: string): Promise<[number, string | null]> {
  return eventually(async () => {
    const { status, headers, json }: Answer = await ask(at(path));
    expect(json.code).not.toBe('HOLDFAST_RESTART_REFUSED');
    return [status, headers.get('x-hdhomerun-error')] as [number, string | null];
  });
}

describe('a stream', () => {
  it('has the headers of a device, and no length', async () => {
    using viewer = await Viewer.open(at('/auto/v5.1'));
    await viewer.more();
    expect(viewer.status).toBe(200);
    expect(viewer.headers).toMatchObject({
      'content-type': 'video/mpeg',
      'transfermode.dlna.org': 'Streaming',
      'x-hdhomerun-resource': 'tuner0',
      server: 'HDHomeRun/1.0',
      connection: 'close',
    });
    expect(viewer.headers['content-length']).toBeUndefined();
  });

  it('is of the one tuner that all who watch the channel share, by whatever path', async () => {
    const opens = simulator.opens('5.1');
    const paths = ['/auto/v5.1', '/auto/v5.1?transcode=none', '/tuner0/v5.1', '/channels/5.1.ts'];
    const viewers: Viewer[] = [];
    for (const path of paths) viewers.push(await Viewer.open(at(path)));
    await Promise.all(viewers.map((viewer) => viewer.more()));
    expect(viewers.map(({ headers }) => headers['x-hdhomerun-resource'])).toEqual([
      ...['tuner0', 'tuner0', 'tuner0', undefined],
    ]);
    expect([simulator.opens('5.1') - opens, simulator.streams()]).toEqual([1, 1]);
    for (const viewer of viewers) viewer.leave();
  });

  it('is a tuner in status.json, with its channel, who watches and the rate', async () => {
    using viewer = await Viewer.open(at('/tuner1/v7.1'));
    await viewer.more();
    await eventually(async () => {
      const [idle, busy] = await publisher.json('/status.json');
      expect(idle).toEqual({ Resource: 'tuner0' });
      expect(Object.keys(busy)).toEqual([
        ...['Resource', 'VctNumber', 'VctName', 'SignalStrengthPercent', 'SignalQualityPercent'],
        ...['SymbolQualityPercent', 'TargetIP', 'NetworkRate'],
      ]);
      expect(busy).toMatchObject({ Resource: 'tuner1', VctNumber: '7.1', VctName: 'Granite Sport' });
      expect(busy).toMatchObject({ SignalStrengthPercent: 100, TargetIP: '127.0.0.1' });
      expect(busy.NetworkRate).toBeGreaterThan(50_000);
    });
  });

  it('of another output is a tuner too, which that number then has', async () => {
    using viewer = await Viewer.open(at('/channels/9.1.ts'));
    await viewer.more();
    expect((await publisher.json('/status.json'))[0]).toMatchObject({ Resource: 'tuner0', VctNumber: '9.1' });
    expect(await refusal('/tuner0/v5.1')).toEqual([503, '804 Tuner In Use']);
    using other = await Viewer.open(at('/auto/v5.1'));
    expect(other.headers['x-hdhomerun-resource']).toBe('tuner1');
  });

  it('of a limited duration ends by itself, cleanly and with whole packets, and frees the tuner', async () => {
    const begun = performance.now();
    const response = await fetch(at('/auto/v5.1?duration=1'));
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(performance.now() - begun).toBeGreaterThan(1_000);
    expect(bytes.length % 188).toBe(0);
    expect(inspectTransportStream(bytes), publisher.output).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
    await eventually(() => expect(simulator.streams()).toBe(0), promisedMs(250));
  });

  it('is encoded for who asks for a profile, at the same tuner', async () => {
    const opens = simulator.opens('5.1');
    using whole = await Viewer.open(at('/auto/v5.1?transcode=none'));
    await whole.more();
    expect(encoders()).toEqual([]);
    using tiny = await Viewer.open(at('/auto/v5.1?transcode=internet240'));
    await tiny.more();
    expect(tiny.headers['x-hdhomerun-resource']).toBe('tuner0');
    expect(encoders()).toHaveLength(1);
    expect([simulator.opens('5.1') - opens, simulator.streams()]).toEqual([1, 1]);
  });

  it('is asked for with a range, as players do, and is whole', async () => {
    const headers = { Range: 'bytes=0-' };
    const asked = request(at('/auto/v5.1'), { headers, agent: false });
    asked.end();
    const [status, range] = await new Promise<[number | undefined, string | undefined]>((resolve) =>
      asked.on('response', (response) => {
        resolve([response.statusCode, response.headers['content-range']]);
        response.destroy();
      }),
    );
    expect([status, range]).toEqual([200, undefined]);
  });

  it('needs no tuner for HEAD, which tells what there is', async () => {
    const opens = simulator.opens();
    const { status, headers } = await ask(at('/auto/v5.1'), { method: 'HEAD' });
    expect([status, headers.get('content-type')]).toEqual([200, 'video/mpeg']);
    expect((await ask(at('/auto/v6.1'), { method: 'HEAD' })).status).toBe(404);
    expect((await ask(at('/tuner99/v5.1'), { method: 'HEAD' })).status).toBe(404);
    expect(simulator.opens()).toBe(opens);
  });
});

describe('a stream is refused', () => {
  it.each([
    ['/auto/v6.1', 404, '801 Unknown Channel'],
    ['/auto/ch473000000-1', 404, '801 Unknown Channel'],
    ['/auto/5.1', 404, '801 Unknown Channel'],
    ['/tuner0/v..%2f..%2fetc', 404, '801 Unknown Channel'],
    ['/auto/v5.1?transcode=best', 404, '802 Unknown Transcode Profile'],
    ['/auto/v5.1?transcode=toString', 404, '802 Unknown Transcode Profile'],
    ['/auto/v5.1?duration=0', 400, null],
    ['/auto/v5.1?duration=-1', 400, null],
    ['/tuner2/v5.1', 404, null],
    ['/tuner99/v5.1', 404, null],
    ['/tuner/v5.1', 404, null],
  ])('at %s with %i and %s', async (path, status, error) => {
    expect(await refusal(path)).toEqual([status, error]);
    expect(simulator.streams()).toBe(0);
  });

  it.each<[Fault, string]>([
    ['busy', '805 All Tuners In Use'],
    ['system-busy', '803 System Busy'],
    ['tune-failed', '806 Tune Failed'],
    ['error-5xx', '806 Tune Failed'],
    ['reset', '806 Tune Failed'],
  ])('with 503 when the device does: %s is %s', async (fault, error) => {
    simulator.misbehave({ fault, channel: '5.1' });
    expect(await refusalOfTrying('/auto/v5.1')).toEqual([503, error]);
  });

  it.each<Fault>(['no-video', 'slow-start'])('with 503 and 807 when nothing comes: %s', async (fault) => {
    simulator.misbehave({ fault, channel: '7.1', afterMs: fault === 'no-video' ? 100 : promisedMs(10_000) });
    expect(await refusalOfTrying('/auto/v7.1')).toEqual([503, '807 No Video Data']);
  });

  it('with 503 and 805 when every tuner behind it is in use', async () => {
    using _first = simulator.occupy(0);
    using _second = simulator.occupy(1);
    const { status, headers } = await ask(at('/auto/v9.1'));
    expect([status, headers.get('x-hdhomerun-error')]).toEqual([503, '805 All Tuners In Use']);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(headers.get('transfermode.dlna.org')).toBeNull();
    expect(headers.get('x-hdhomerun-resource')).toBeNull();
  });

  it('with 503 and 805 when another process reads the channel', async () => {
    await using _lock = await SourceLock.acquire(simulator.source('9.1'), { dir: lockDir });
    const { status, headers, json } = await ask(at('/auto/v9.1'));
    expect([status, headers.get('x-hdhomerun-error')]).toEqual([503, '805 All Tuners In Use']);
    expect(json.holder).toMatchObject({ pid: process.pid });
  });

  it('with 403 and 811 when it is copy protected, again and again, and is listed no more', async () => {
    const [, number] = /"GuideNumber":"(\d+)","GuideName":"safe"/.exec((await ask(at('/lineup.json'))).text) ?? [];
    for (const _ of [1, 2, 3]) {
      expect(await refusal(`/auto/v${number}`)).toEqual([403, '811 Content Protection Required']);
    }
    expect((await ask(at('/lineup.json'))).text).not.toContain('safe');
  });

  it('with 503 and 806 when the device does not have what it shall read', async () => {
    const [, number] = /"GuideNumber":"(\d+)","GuideName":"gone"/.exec((await ask(at('/lineup.json'))).text) ?? [];
    expect(await refusal(`/auto/v${number}`)).toEqual([503, '806 Tune Failed']);
  });

  it('with 503 and 809 when there are too many viewers', async () => {
    await using small = await publish('--max-viewers', '1');
    using viewer = await Viewer.open(`${small.url}/auto/v5.1`);
    await viewer.more();
    expect(await refusal('/auto/v5.1', small)).toEqual([503, '809 Playback Connection Limit']);
    await viewer.more();
  });

  it('with 804 at a tuner that serves another channel, but not to who wants the same', async () => {
    using viewer = await served('/tuner1/v5.1');
    await viewer.more();
    expect(await refusal('/tuner1/v7.1')).toEqual([503, '804 Tuner In Use']);
    using second = await Viewer.open(at('/tuner1/v5.1'));
    await second.more();
    expect(second.headers['x-hdhomerun-resource']).toBe('tuner1');
  });
});
