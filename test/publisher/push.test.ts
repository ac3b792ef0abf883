import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Socket as NetSocket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { findFfmpeg, HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { PushTarget } from '../../examples/publisher/push/push-target.ts';
import { ManagedChild } from '../../src/index.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { inspectTransportStream, picturesIn, probe } from '../support/transport-stream.ts';
import { quickRecording } from './hls-support.ts';
import { ask, type Json, makeRecording, PublisherProcess, processesWith, Viewer } from './support.ts';

let recording: Buffer;
/** Of MPEG-2, which RTMP does not carry. */
const tape = join(temporaryDirectory(afterAll), 'mpeg2.ts');

beforeAll(async () => {
  [recording] = await Promise.all([quickRecording(2), makeRecording(tape)]);
});

/** A device with a publisher of its own. */
async function house(push: Record<string, object>, { onTestFinished }: TestContext, ...more: readonly string[]) {
  const simulator = await HdhomerunSimulator.start({ recording });
  onTestFinished(() => simulator.close());
  const pushes = Object.entries(push).flatMap(([id, config]) => ['--push', `${id}=${JSON.stringify(config)}`]);
  const lockDir = temporaryDirectory(onTestFinished);
  const publisher = await PublisherProcess.start([
    '--device',
    simulator.url,
    '--lock-dir',
    lockDir,
    ...pushes,
    ...more,
  ]);
  onTestFinished(() => publisher[Symbol.asyncDispose]());
  return { simulator, publisher };
}

async function pushOf(publisher: PublisherProcess, id: string): Promise<Json> {
  const { pushes } = await publisher.json('/api/pushes');
  return pushes.find((push: Json) => push.id === id);
}

const isLive = (publisher: PublisherProcess, id: string) =>
  eventually(async () => expect(await pushOf(publisher, id)).toMatchObject({ state: 'live' }), patienceMs(20_000));

const isHeldBack = (publisher: PublisherProcess, id: string, why: RegExp) =>
  eventually(async () => {
    const push = await pushOf(publisher, id);
    expect(push).toMatchObject({ state: 'held-back', why: expect.stringMatching(why) });
  }, patienceMs(25_000));

/** A UDP receiver on loopback, which keeps what comes. */
async function receiver({
  onTestFinished,
}: TestContext): Promise<{ port: number; datagrams: Buffer[]; socket: Socket }> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.setRecvBufferSize(1024 * 1024);
  const datagrams: Buffer[] = [];
  socket.on('message', (datagram) => datagrams.push(datagram));
  onTestFinished(() => void socket.close());
  return { port: socket.address().port, datagrams, socket };
}

/** Whether somebody waits to be called at a port, by TCP or UDP, as the kernel has it: a peer of ffmpeg takes one call alone. */
function isCallable(port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return (
    readFileSync('/proc/net/tcp', 'utf8').includes(`${local} 00000000:0000 0A`) ||
    readFileSync('/proc/net/udp', 'utf8').includes(`${local} 00000000:0000 `)
  );
}

/** The real ffmpeg as the peer that waits to be called, and writes what it gets to a file. */
async function peer(
  port: number,
  input: readonly string[],
  file: string,
  { onTestFinished }: TestContext,
): Promise<ManagedChild> {
  const args = ['-nostdin', '-v', 'error', ...input, '-c', 'copy', '-y', '-f', 'mpegts', file];
  const child = await ManagedChild.spawn(findFfmpeg(), args, { stdout: 'ignore' });
  onTestFinished(async () => {
    await child.terminate();
  });
  await eventually(() => expect(isCallable(port)).toBe(true), patienceMs(10_000));
  return child;
}

const encoders = (text: string, publisher: PublisherProcess) =>
  processesWith(text).filter((pid) => pid !== publisher.pid);

describe.concurrent('a push', () => {
  it('sends MPEG-TS in datagrams of seven packets by UDP, with nobody watching, and tells how much', async (test) => {
    const { port, datagrams } = await receiver(test);
    const url = `udp://127.0.0.1:${port}`;
    const { publisher, simulator } = await house({ wall: { channel: '5.1', url } }, test);
    await isLive(publisher, 'wall');
    await eventually(() => expect(datagrams.length).toBeGreaterThan(150), promisedMs(10_000));
    const whole = datagrams.filter(({ length }) => length === 1316);
    expect(whole.length).toBeGreaterThan(datagrams.length / 2);
    expect(datagrams.every(({ length }) => length % 188 === 0)).toBe(true);
    const bytes = Buffer.concat(datagrams);
    expect(inspectTransportStream(bytes)).toMatchObject({ syncErrors: 0, continuityErrors: 0 });
    expect(picturesIn(bytes)).toBeGreaterThan(10);
    expect(simulator.streams('5.1')).toBe(1);
    const { bytes: sent, restarts, why, url: shown } = await pushOf(publisher, 'wall');
    expect({ restarts, why, shown }).toEqual({ restarts: 0, why: null, shown: url });
    expect(sent).toBeGreaterThan(50_000);
    expect(await publisher.metric('publisher_pushes{state="live"}')).toBe(1);
    expect(await publisher.metric('publisher_push_bytes_total{push="wall"}')).toBeGreaterThanOrEqual(sent);
  });

  it('ends with the publisher, and its channel with it', async (test) => {
    const { port } = await receiver(test);
    const { publisher, simulator } = await house({ wall: { channel: '5.1', url: `udp://127.0.0.1:${port}` } }, test);
    await isLive(publisher, 'wall');
    expect(encoders(`127.0.0.1:${port}`, publisher)).toHaveLength(1);
    await publisher[Symbol.asyncDispose]();
    expect(encoders(`127.0.0.1:${port}`, publisher)).toEqual([]);
    await eventually(() => expect(simulator.streams()).toBe(0));
  });

  it('waits for a channel that there is not, and says so', async (test) => {
    const { publisher } = await house({ later: { channel: '99.1', url: 'udp://127.0.0.1:9' } }, test);
    await eventually(async () => expect((await pushOf(publisher, 'later')).state).toBe('waiting'));
    const { why, restarts, retryAfterMs } = await pushOf(publisher, 'later');
    expect([why, restarts, retryAfterMs]).toEqual(['there is no channel 99.1; it begins when there is', 0, null]);
    expect(encoders('udp://127.0.0.1:9', publisher)).toEqual([]);
  });

  it('calls a peer by SRT', async (test) => {
    const file = join(temporaryDirectory(test.onTestFinished), 'got.ts');
    const port = await freePort();
    await peer(port, ['-analyzeduration', '1000000', '-i', `srt://127.0.0.1:${port}?mode=listener`], file, test);
    const { publisher } = await house({ studio: { channel: '5.1', url: `srt://127.0.0.1:${port}` } }, test);
    await isLive(publisher, 'studio');
    await eventually(() => expect(readFileSync(file).length).toBeGreaterThan(100_000), promisedMs(15_000));
    expect(picturesIn(readFileSync(file))).toBeGreaterThan(5);
  });

  it('calls a peer by RTMP', async (test) => {
    const file = join(temporaryDirectory(test.onTestFinished), 'got.ts');
    const port = await freePort();
    await peer(port, ['-listen', '1', '-i', `rtmp://127.0.0.1:${port}/live/a-secret-key`], file, test);
    const push = { site: { channel: '5.1', url: `rtmp://127.0.0.1:${port}/live/a-secret-key` } };
    const { publisher } = await house(push, test);
    await isLive(publisher, 'site');
    await eventually(() => expect(readFileSync(file).length).toBeGreaterThan(100_000), promisedMs(15_000));
    const { streams } = await probe(file);
    expect(streams.map(({ codec_name }) => codec_name).sort()).toEqual(['aac', 'h264']);
    expect((await pushOf(publisher, 'site')).url).toBe(`rtmp://127.0.0.1:${port}/live/***`);
  });

  it('does not send by RTMP what that can not carry, and says what to do', async (test) => {
    const push = { site: { channel: 'tape', url: 'rtmp://127.0.0.1:9/live/another-key' } };
    const { publisher } = await house(push, test, '--source', `tape=${tape}`);
    await eventually(async () => {
      const { state, why } = await pushOf(publisher, 'site');
      expect(state).toBe('held-back');
      expect(why).toMatch(/RTMP carries H\.264 with AAC or MP3, and this is MPEG-2 video.*"profile": "web"/);
    }, patienceMs(20_000));
    expect(encoders('another-key', publisher)).toEqual([]);
  });

  it('to a peer that is away is tried again less and less often, and keeps nobody from watching', async (test) => {
    const port = await freePort();
    const url = `srt://127.0.0.1:${port}?passphrase=open-sesame-42&streamid=my-stream-name`;
    const rtmp = `rtmp://user:hunter22@127.0.0.1:${port}/live/my-stream-key`;
    const push = { srt: { channel: '5.1', url }, rtmp: { channel: '5.1', url: rtmp } };
    const { publisher } = await house(push, test, '--log', 'json', '--log-level', 'debug');
    await eventually(async () => {
      const { pushes } = await publisher.json('/api/pushes');
      for (const push of pushes) expect(push).toMatchObject({ state: 'held-back', why: expect.any(String) });
    }, patienceMs(30_000));
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    using other = await Viewer.open(`${publisher.url}/channels/7.1.ts`);
    await Promise.all([viewer.more(50_000), other.more(50_000)]);
    await throughout(4_000, () => expect(viewer.isGone || other.isGone).toBe(false));
    const { pushes } = await publisher.json('/api/pushes');
    for (const { restarts } of pushes) expect(restarts).toBeLessThan(5);
    const pages = await Promise.all(
      ['/api/pushes', '/api/events', '/metrics', '/api/channels'].map((path) => textAt(publisher, path)),
    );
    const told = [publisher.output, ...pages].join('\n');
    for (const secret of ['open-sesame-42', 'my-stream-name', 'hunter22', 'my-stream-key']) {
      expect(told).not.toContain(secret);
    }
    expect(told).toContain(`srt://127.0.0.1:${port}`);
  });

  it('that was changed is replaced by a reload, and others are left alone', async (test) => {
    const [first, second, stays] = [await receiver(test), await receiver(test), await receiver(test)];
    await using simulator = await HdhomerunSimulator.start({ recording });
    const config = join(temporaryDirectory(test.onTestFinished), 'publisher.json');
    const write = (port: number) =>
      writeFileSync(
        config,
        JSON.stringify({
          device: [simulator.url],
          push: {
            moved: { channel: '5.1', url: `udp://127.0.0.1:${port}` },
            stays: { channel: '7.1', url: `udp://127.0.0.1:${stays.port}` },
          },
        }),
      );
    write(first.port);
    const lockDir = temporaryDirectory(test.onTestFinished);
    await using publisher = await PublisherProcess.start(['--config', config, '--lock-dir', lockDir]);
    await Promise.all([isLive(publisher, 'moved'), isLive(publisher, 'stays')]);
    const [pid] = encoders(`127.0.0.1:${stays.port}`, publisher);
    write(second.port);
    publisher.kill('SIGHUP');
    await eventually(() => expect(second.datagrams.length).toBeGreaterThan(20), patienceMs(20_000));
    await eventually(() => expect(encoders(`127.0.0.1:${first.port}`, publisher)).toEqual([]));
    expect(encoders(`127.0.0.1:${stays.port}`, publisher)).toEqual([pid]);
  });

  it('whose peer stops to read is held back with a reason, and live again when the peer is', async (test) => {
    const file = join(temporaryDirectory(test.onTestFinished), 'got.ts');
    const port = await freePort();
    const input = ['-listen', '1', '-i', `rtmp://127.0.0.1:${port}/live/the-key-of-one-that-stops`];
    const first = await peer(port, input, file, test);
    const push = { site: { channel: '5.1', url: `rtmp://127.0.0.1:${port}/live/the-key-of-one-that-stops` } };
    const { publisher } = await house(push, test, '--stall-timeout-ms', '3000');
    await isLive(publisher, 'site');
    process.kill(first.pid as number, 'SIGSTOP');
    const stopped = performance.now();
    await isHeldBack(publisher, 'site', /^the peer takes nothing/);
    expect(performance.now() - stopped).toBeLessThan(promisedMs(12_000));
    await eventually(() => expect(encoders('the-key-of-one-that-stops', publisher)).toEqual([first.pid]));
    await first.terminate();
    await peer(port, input, file, test);
    await isLive(publisher, 'site');
    expect((await pushOf(publisher, 'site')).restarts).toBeGreaterThan(0);
  });

  it('whose peer never answers is held back, and tried again', async (test) => {
    const calls: NetSocket[] = [];
    const silent = createServer((socket) => calls.push(socket)).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    test.onTestFinished(() => {
      for (const call of calls) call.destroy();
      silent.close();
    });
    const { port } = silent.address() as { port: number };
    const push = { site: { channel: '5.1', url: `rtmp://127.0.0.1:${port}/live/a-secret-key` } };
    const { publisher } = await house(push, test, '--start-timeout-ms', '4000');
    await isHeldBack(publisher, 'site', /^the peer has taken nothing since it was called/);
    await eventually(() => expect(calls.length).toBeGreaterThan(1), patienceMs(20_000));
  });

  it('of a channel that goes on with other tracks begins anew, and nothing has failed', async (test) => {
    const { port, datagrams } = await receiver(test);
    await using first = await HdhomerunSimulator.start({ recording });
    const sources = JSON.stringify([first.streamUrl('5.1'), tape]);
    const push = { wall: { channel: 'news', url: `udp://127.0.0.1:${port}` } };
    const { publisher } = await house(push, test, '--source', `news=${sources}`);
    await isLive(publisher, 'wall');
    const [pid] = encoders(`127.0.0.1:${port}`, publisher);
    first.misbehave({ fault: 'cut', channel: '5.1' });
    await eventually(() => expect(encoders(`127.0.0.1:${port}`, publisher)).not.toContain(pid), promisedMs(8_000));
    datagrams.length = 0;
    await eventually(() => expect(datagrams.length).toBeGreaterThan(50), patienceMs(20_000));
    expect(await pushOf(publisher, 'wall')).toMatchObject({ restarts: 0, why: null });
  });

  it('of a channel that the operator stops leaves the tuner alone until a reload', async (test) => {
    const { port } = await receiver(test);
    const push = { wall: { channel: '5.1', url: `udp://127.0.0.1:${port}` } };
    const token = 'an-operator-of-this';
    const { publisher, simulator } = await house(push, test, '--operator-token', token);
    await isLive(publisher, 'wall');
    const headers = { Authorization: `Bearer ${token}` };
    await ask(`${publisher.url}/api/channels/5.1/stop`, { method: 'POST', headers });
    await eventually(() => expect(simulator.streams()).toBe(0));
    await throughout(2_000, () => expect(simulator.streams()).toBe(0));
    const { state, why } = await pushOf(publisher, 'wall');
    expect([state, why]).toEqual(['stopped', expect.stringContaining('stopped by the operator')]);
    publisher.kill('SIGHUP');
    await isLive(publisher, 'wall');
  });

  it('shows no key, even where it stands in the place of an application', () => {
    const target = new PushTarget('rtmp://127.0.0.1/a-secret-key');
    expect([target.shown, target.scrub('no a-secret-key')]).toEqual(['rtmp://127.0.0.1/***', 'no ***']);
    expect(new PushTarget('rtmp://127.0.0.1/live/a-secret-key').shown).toBe('rtmp://127.0.0.1/live/***');
  });

  it('by SRT never waits to be called', async () => {
    const publisher = new PublisherProcess(['--push', 'x={"channel":"5.1","url":"srt://0.0.0.0:9000?mode=listener"}']);
    const { code, output } = await publisher.exited;
    expect(code).toBe(2);
    expect(output).toMatch(/--push x: url must be an srt:\/\/ \(which calls: no mode=listener\)/);
  });
});

async function textAt(publisher: PublisherProcess, path: string): Promise<string> {
  if (path !== '/api/events') return (await ask(publisher.url + path)).text;
  using events = await Viewer.open(publisher.url + path, { keep: true });
  await events.more(10);
  return Buffer.concat(events.chunks).toString();
}
