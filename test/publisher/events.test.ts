import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import type { Channels } from '../../examples/publisher/channel/channels.ts';
import { EventLog } from '../../examples/publisher/events.ts';
import { LiveFeed } from '../../examples/publisher/http/live-feed.ts';
import { Overviews } from '../../examples/publisher/http/overview.ts';
import { PublisherMetrics } from '../../examples/publisher/metrics.ts';
import { OrphanLook } from '../../examples/publisher/orphan-look.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, type Json, PublisherProcess, Viewer } from './support.ts';

interface Message {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Json;
}

/** An EventSource as far as the tests need one. */
class Listener implements Disposable {
  readonly response: IncomingMessage;
  text = '';
  isGone = false;

  static async open(url: string, headers: Record<string, string> = {}, from = '127.0.0.1'): Promise<Listener> {
    const request = get(url, { agent: false, headers, localAddress: from });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new Listener(response);
  }

  private constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding('utf8');
    response.on('error', () => {});
    response.on('close', () => {
      this.isGone = true;
    });
    response.on('data', (text: string) => {
      this.text += text;
    });
  }

  get messages(): Message[] {
    const whole = this.text.slice(0, this.text.lastIndexOf('\n\n') + 1).split('\n\n');
    return whole.filter((block) => block.includes('data: ')).map(parsed);
  }

  of(event: string): Message[] {
    return this.messages.filter((message) => message.event === event);
  }

  /** Resolves with the first message that a check accepts. */
  until(event: string, accepts: (data: Json) => boolean = () => true): Promise<Message> {
    return eventually(() => {
      const found = this.of(event).find(({ data }) => accepts(data));
      if (!found) throw new Error(`no such "${event}" has come:\n${this.text.slice(-3_000)}`);
      return found;
    }, patienceMs(10_000));
  }

  [Symbol.dispose](): void {
    this.response.destroy();
  }
}

function parsed(block: string): Message {
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
  return { event: field('event') ?? 'message', id: field('id'), data: JSON.parse(field('data') as string) };
}

describe('GET /api/events', () => {
  let simulator: HdhomerunSimulator;
  let publisher: PublisherProcess;
  const lockDir = temporaryDirectory(afterAll);

  beforeAll(async () => {
    simulator = await HdhomerunSimulator.start();
    const broken = 'broken=http://127.0.0.1:1/secret.ts?token=hunter2';
    publisher = await PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir, '--source', broken]);
    await publisher.says(/3 channels/);
  });
  afterAll(async () => {
    await publisher[Symbol.asyncDispose]();
    await simulator.close();
  });

  it('begins with a snapshot of all that is known, then tells what the log said', async () => {
    using listener = await Listener.open(`${publisher.url}/api/events`);
    expect(listener.response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    const { data } = await listener.until('snapshot');
    expect(data.channels.map(({ id }: Json) => id).sort()).toEqual(['5.1', '7.1', '9.1', 'broken']);
    expect(data.tuners[0]).toMatchObject({ reachable: true });
    expect(data.publisher).toMatchObject({ demo: false, operable: false, unready: [] });
    expect(data.publisher.version).toMatch(/^\d+\.\d+\.\d+$/);
    expect([data.locks, data.orphans, data.pushes].map(Array.isArray)).toEqual([true, true, true]);
    await listener.until('event', ({ text }) => text.startsWith('dashboard: '));
    expect(listener.messages[0]?.event).toBe('snapshot');
  });

  it('tells what changes in a channel, its tuner and its lock, and nothing while nothing changes', async () => {
    using listener = await Listener.open(`${publisher.url}/api/events`);
    await listener.until('snapshot');
    const viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    onTestFinished(() => viewer.leave());
    await listener.until('channels', ({ changed }) => changed.some((it: Json) => it.id === '5.1' && it.viewers === 1));
    await listener.until('tuners', ([device]) => device.tuners.some(({ inUse }: Json) => inUse));
    await listener.until('locks', (locks) => locks.some(({ pid }: Json) => pid === publisher.pid));
    const told = await listener.until('event', ({ channel, text }) => channel === '5.1' && /live, first/.test(text));
    expect(told.data).toMatchObject({ level: 'info', id: told.id });
    viewer.leave();
    await listener.until('channels', ({ changed }) =>
      changed.some((it: Json) => it.id === '5.1' && it.state === 'idle'),
    );
    await eventually(async () => expect((await publisher.json('/api/locks')).locks).toEqual([]));
    await listener.until('locks', (locks) => locks.length === 0);
    const heard = listener.messages.length;
    // That a lineup was read again is news too, and what other tests leave behind; that the stream lives is none.
    const others = ['tuners', 'orphans', 'heartbeat'];
    const news = () => listener.messages.slice(heard).filter(({ event }) => !others.includes(event));
    await throughout(2_500, () => expect(news()).toEqual([]));
  });

  it('passes no credential, and gives a failure with what to do', async () => {
    using listener = await Listener.open(`${publisher.url}/api/events`);
    await listener.until('snapshot');
    expect((await ask(`${publisher.url}/channels/broken.ts`)).status).toBe(502);
    const failed = await listener.until('channels', ({ changed }) =>
      changed.some((it: Json) => it.id === 'broken' && it.lastError),
    );
    const { lastError, failures, sources } = failed.data.changed.find((it: Json) => it.id === 'broken');
    expect(sources, 'what changes at each look would be news each time').toMatchObject([
      { state: 'failed', until: expect.stringMatching(/:\d\d\.000Z$/) },
    ]);
    expect(lastError.advice).toContain('ffprobe');
    expect(failures).toBeGreaterThan(0);
    await listener.until('event', ({ level, channel }) => level === 'warn' && channel === 'broken');
    expect(listener.text).not.toContain('hunter2');
  });

  it.each(['header', 'query'] as const)('goes on after the last event that a client knows (%s)', async (way) => {
    using before = await Listener.open(`${publisher.url}/api/events`);
    await before.until('event');
    const known = before.of('event');
    const last = known.at(-1)?.id as string;
    before[Symbol.dispose]();
    const address = `${publisher.url}/api/events`;
    using after = await (way === 'header'
      ? Listener.open(address, { 'Last-Event-ID': last })
      : Listener.open(`${address}?after=${last}`));
    await after.until('snapshot');
    const viewer = await Viewer.open(`${publisher.url}/channels/7.1.ts`);
    viewer.leave();
    await after.until('event', ({ channel }) => channel === '7.1');
    const numberOf = (id: string | undefined) => Number(id?.split('-')[1]);
    const numbers = after.of('event').map(({ id }) => numberOf(id));
    expect(numbers).toEqual(numbers.map((_, index) => numberOf(last) + 1 + index));
  });

  it('is the same once as GET /api/overview, and answers to HEAD', async () => {
    const { json } = await ask(`${publisher.url}/api/overview`);
    expect(Object.keys(json)).toEqual(expect.arrayContaining(['channels', 'tuners', 'publisher', 'events', 'missed']));
    const last = json.events.at(-1).id;
    const { events } = (await ask(`${publisher.url}/api/overview?after=${last}`)).json;
    expect(events.map(({ id }: Json) => id)).not.toContain(last);
    const head = await fetch(`${publisher.url}/api/events`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
  });

  it('has room for 64 clients, 16 of one address, then refuses, and has room again once they are gone', async () => {
    const clients: Listener[] = [];
    const events = `${publisher.url}/api/events`;
    for (const last of [1, 2, 3, 4]) {
      const open = () => Listener.open(events, {}, `127.0.0.${last}`);
      clients.push(...(await Promise.all(Array.from({ length: 16 }, open))));
      using over = await open();
      expect(over.response.statusCode).toBe(503);
    }
    expect(clients.map(({ response }) => response.statusCode)).toEqual(clients.map(() => 200));
    using late = await Listener.open(events, {}, '127.0.0.5');
    expect([late.response.statusCode, late.response.headers['retry-after']]).toEqual([503, '5']);
    for (const client of clients) client[Symbol.dispose]();
    await eventually(async () => {
      using next = await Listener.open(`${publisher.url}/api/events`);
      expect(next.response.statusCode).toBe(200);
    });
  });

  it('goes on while the locks can not be read, and says so', async () => {
    const lockDir = join(temporaryDirectory(), 'locks');
    await using other = await PublisherProcess.start(['--device', simulator.url, '--lock-dir', lockDir]);
    rmSync(lockDir, { recursive: true });
    writeFileSync(lockDir, 'no directory');
    using listener = await Listener.open(`${other.url}/api/events`);
    const { data } = await listener.until('snapshot');
    expect(data.publisher.unready).toContainEqual(expect.stringContaining("locks can't be shown: "));
    expect([data.channels.length, data.locks]).toEqual([3, []]);
    expect((await other.json('/api/channels')).channels).toHaveLength(3);
    expect((await ask(`${other.url}/api/overview`)).status).toBe(200);
    const ready = await ask(`${other.url}/readyz`);
    const reason = `the lock directory ${lockDir} can't be written (EACCES); see --lock-dir`;
    expect([ready.status, ready.json.reasons]).toEqual([503, [reason]]);
  });

  it('ends at once when the publisher stops', async () => {
    const other = await PublisherProcess.start(['--device', simulator.url, '--lock-dir', temporaryDirectory()]);
    using listener = await Listener.open(`${other.url}/api/events`);
    await listener.until('snapshot');
    const begun = performance.now();
    await other[Symbol.asyncDispose]();
    expect(performance.now() - begun).toBeLessThan(promisedMs(2_500));
    await eventually(() => expect(listener.isGone).toBe(true));
    expect((await other.exited).code).toBe(0);
  });
});

describe('the feed', () => {
  const overview = (size = 0) => ({
    ...{ now: new Date(0).toISOString(), publisher: {}, tuners: [], locks: [], orphans: [], pushes: [] },
    channels: [{ id: 'x', state: 'live', name: 'n'.repeat(size), refusal: null }],
  });

  /** A server whose only answer is the feed, and how often it looked. */
  async function serve(size: number, maxUnreadBytes?: number) {
    const looks = { count: 0 };
    const take = async () => {
      looks.count += 1;
      return overview(size);
    };
    const log = new EventLog('run', 5);
    const feed = new LiveFeed({ take } as unknown as Overviews, log, maxUnreadBytes);
    const server = createServer((request, response) =>
      feed.join(response, '127.0.0.1', request.headers['last-event-id'] as string | undefined),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      feed[Symbol.dispose]();
      server.close().closeAllConnections();
    });
    const { port } = server.address() as AddressInfo;
    return { feed, log, looks, port, url: `http://127.0.0.1:${port}/` };
  }

  const say = (log: EventLog, msg: string) => log.add({ time: new Date().toISOString(), level: 'info', msg });

  it('cuts a client that does not read, and goes on for those who do', async () => {
    const { feed, url, port } = await serve(2_000_000, 1_000_000);
    const slow = connect(port, '127.0.0.1');
    slow.on('error', () => {});
    await once(slow, 'connect');
    slow.pause();
    slow.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually(() => expect(feed.size).toBe(1));
    using reader = await Listener.open(url);
    await eventually(() => expect(feed.size).toBe(1), promisedMs(15_000));
    const heard = reader.of('channels').length;
    await eventually(() => expect(reader.of('channels').length).toBeGreaterThan(heard));
    expect(reader.isGone).toBe(false);
    slow.destroy();
  });

  it('shows all else where a part can not be looked at, and says which', async () => {
    const fails = (what: string) => (): never => {
      throw new Error(`${what} of http://user:secret@host/`);
    };
    const said = { version: '1.0.0', startedAt: '', demo: false, unready: [], operable: false, deviceId: null };
    const publisher = { ...said, pid: 1, host: 'm' };
    const { channels, pushes, locks, ...shown } = await new Overviews({
      channels: { [Symbol.iterator]: fails('a channel') } as unknown as Channels,
      tuners: () => [],
      lockDir: temporaryDirectory(),
      orphans: new OrphanLook(async () => []),
      publisher: () => publisher,
      pushes: fails('a push'),
    }).take();
    expect([channels, pushes, locks]).toEqual([[], [], []]);
    expect([...shown.publisher.unready].sort()).toEqual([
      expect.stringMatching(/^channels can't be shown: a channel of http:\/\/((?!secret).)*host\/$/),
      expect.stringMatching(/^pushes can't be shown: a push of http:\/\/((?!secret).)*host\/$/),
    ]);
  });

  it('looks for orphans once in 10 s, however many ask', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const look = vi.fn(async () => []);
    const orphans = new OrphanLook(look);
    for (let count = 0; count < 20; count += 1) await orphans.find();
    expect(look).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(10_000);
    await orphans.find();
    expect(look).toHaveBeenCalledTimes(2);
  });

  it('tells all other metrics where the processes of the host can not be looked at', async () => {
    using metrics = new PublisherMetrics(new OrphanLook(() => Promise.reject(new Error('no descriptors'))));
    const text = await metrics.registry.metrics();
    expect(text).toContain('publisher_orphans Nan');
    expect(text).toContain('process_cpu_seconds_total');
  });

  it('says every 5 s that it lives', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const { url } = await serve(0);
    using listener = await Listener.open(url);
    await listener.until('snapshot');
    vi.advanceTimersByTime(10_000);
    await eventually(() => expect(listener.of('heartbeat')).toHaveLength(2));
  });

  it('looks at nothing while nobody listens', async () => {
    const { feed, looks, url } = await serve(0);
    expect(looks.count).toBe(0);
    const listener = await Listener.open(url);
    await listener.until('channels');
    listener[Symbol.dispose]();
    await eventually(() => expect(feed.size).toBe(0));
    const { count } = looks;
    await throughout(2_500, () => expect(looks.count - count).toBeLessThanOrEqual(1));
  });

  it('says how many events a client missed that was away for too long', async () => {
    const { log, url } = await serve(0);
    for (let count = 1; count <= 12; count += 1) say(log, `event ${count}`);
    using late = await Listener.open(url, { 'Last-Event-ID': 'run-3' });
    expect((await late.until('missed')).data).toEqual({ missed: 4 });
    expect(late.of('event').map(({ data }) => data.text)).toEqual([8, 9, 10, 11, 12].map((count) => `event ${count}`));
    using stranger = await Listener.open(url, { 'Last-Event-ID': 'earlier-11' });
    await stranger.until('event');
    expect(stranger.of('event')).toHaveLength(5);
    expect(stranger.of('missed')).toEqual([]);
  });
});
