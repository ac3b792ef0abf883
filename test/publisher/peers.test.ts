import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { CHANNEL_ID } from '../../examples/publisher/config/schema.ts';
import { KeptLineups } from '../../examples/publisher/directory/kept-lineups.ts';
import { Peer } from '../../examples/publisher/directory/peer.ts';
import { createLog } from '../../examples/publisher/log.ts';
import { eventually } from '../support/eventually.ts';
import { TEN_TIMES_AS_FAST } from '../support/hasty-clock.ts';
import { freePort } from '../support/ports.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PublisherProcess, Viewer } from './support.ts';

const US = 'instance-of-ours';
let server: Server;
let document: unknown;
let url: string;

beforeEach(async () => {
  server = createServer((_, response) => {
    response.end(typeof document === 'string' ? document : JSON.stringify(document));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const offers = () => new Peer(url, US).offers(new AbortController().signal);
const stream = (id: string, more: object = {}) => ({ id, name: id, number: null, url: `http://h/${id}.ts`, ...more });

describe('what a peer lists', () => {
  it('is offered with its id, or one that has the peer in it, and says what it came through', async () => {
    document = { instance: 'theirs', streams: [stream('a', { number: '5.1', via: ['far'] })] };
    const [offer] = await offers();
    const port = new URL(url).port;
    expect(offer).toMatchObject({
      ids: ['a', `127.0.0.1-${port}-a`],
      name: 'a',
      number: '5.1',
      via: ['far', 'theirs'],
    });
    expect(offer?.sources).toEqual([{ url: 'http://h/a.ts' }]);
  });

  it('has ids that can be configured, whatever its own is', async () => {
    document = { streams: ['..', '-1', `${'x'.repeat(20)}-${'.'.repeat(43)}`, 'ß'].map((id) => stream(id)) };
    const ids = (await offers()).flatMap((offer) => offer.ids);
    for (const id of ids) expect(id).toMatch(CHANNEL_ID);
  });

  it('is offered last and as unavailable if it can not be had there; what is stale there is stale', async () => {
    const past = new Date(1_000).toISOString();
    const stale = { available: false, stale: true, updatedAt: past, expiresAt: past };
    document = { streams: [stream('gone', { available: false }), stream('stale', stale), stream('good')] };
    const all = await offers();
    expect(all.map(({ ids, available }) => [ids[0], available])).toEqual([
      ['good', true],
      ['gone', false],
      ['stale', false],
    ]);
    expect(all[2]?.expiresAt).toEqual(new Date(1_000));
  });

  it('is left out if it came through us, or is nothing that can be read', async () => {
    const bad = [{ id: 'no url' }, stream('file', { url: 'file:///etc/passwd' }), 'text', null];
    document = { instance: 'theirs', streams: [stream('ours', { via: ['far', US] }), ...bad, stream('theirs')] };
    expect((await offers()).map(({ ids }) => ids[0])).toEqual(['theirs']);
  });

  it.each([
    ['this publisher itself', { instance: US, streams: [] }, /is this publisher itself; take it out of --peer/],
    ['no publisher', { what: 'else' }, /can't be used: .*; is it a publisher\?/],
    ['a page', '<html>', /can't be used: no JSON; is it a publisher\?/],
    ['too much', `"${'a'.repeat(9_000_000)}"`, /larger than 8388608 bytes/],
  ])('is refused if it is %s', async (_, what, why) => {
    document = what;
    await expect(offers()).rejects.toThrow(why);
  });
});

describe('the list of a peer', () => {
  const log = createLog('json');

  it('outlives a restart, as stale, and is written only if it is news', async () => {
    const dir = temporaryDirectory();
    const kept = new KeptLineups(dir, log);
    const peer = new Peer(url, US, kept);
    expect(peer.initial).toEqual([]);
    const read = () => peer.offers(new AbortController().signal);
    document = { instance: 'theirs', streams: [stream('a'), stream('ours', { via: [US] })] };
    await read();
    await kept.settled();
    const text = () => readFileSync(join(dir, 'lineups.json'), 'utf8');
    const before = text();
    document = { instance: 'theirs', streams: [stream('a', { available: false }), stream('ours', { via: [US] })] };
    await read();
    await kept.settled();
    expect(text()).toBe(before);
    await kept.end();
    expect(text()).not.toBe(before);
    const { initial } = new Peer(url, US, new KeptLineups(dir, log));
    const stale = { available: false, via: ['theirs'], sources: [{ url: 'http://h/a.ts' }] };
    expect(initial).toMatchObject([{ ids: ['a', expect.any(String)], ...stale }]);
    expect(Number(initial[0]?.expiresAt)).toBeLessThan(Date.now());
  });

  it('is listed by a publisher that is started while the peer is down', async () => {
    document = { instance: 'theirs', streams: [stream('far')] };
    const args = ['--state-dir', temporaryDirectory(), '--lock-dir', temporaryDirectory(), '--peer', url];
    {
      await using publisher = await PublisherProcess.start(args);
      await publisher.says(/1 channel: far/);
    }
    document = 'nothing';
    await using publisher = new PublisherProcess(['--port', '0', '--discovery', 'off', ...args]);
    await publisher.says(/the 1 of its last lineup stay listed/);
    const { streams } = await publisher.json('/api/public-streams');
    expect(streams).toMatchObject([{ id: 'far', stale: true, available: false }]);
  });
});

describe('two publishers', () => {
  const PATIENT = ['--start-timeout-ms', '150000', '--stall-timeout-ms', '100000', '--failover-after-ms', '100000'];

  it('that list each other relay each the channels of the other, once, and none in a circle', async () => {
    await using simulator = await HdhomerunSimulator.start();
    const ports = [await freePort(), await freePort()] as const;
    const peers = ports.map((port) => `http://127.0.0.1:${port}`) as [string, string];
    const common = [...PATIENT, '--lock-dir', temporaryDirectory()];
    const start = (...args: string[]) => PublisherProcess.start([...common, ...args], {}, TEN_TIMES_AS_FAST);
    await using one = await start('--port', String(ports[0]), '--device', simulator.url, '--peer', peers[1]);
    const own = '5.1=http://127.0.0.1:9/other';
    await using two = await start('--port', String(ports[1]), '--source', own, '--peer', peers[0]);
    const ids = async (publisher: PublisherProcess) =>
      (await publisher.json('/api/public-streams')).streams.map(({ id }: { id: string }) => id).sort();
    const relayed = `127.0.0.1-${ports[0]}-5.1`;
    await eventually(
      async () => expect(await ids(two)).toEqual([relayed, '5.1', '7.1', '9.1'].sort()),
      patienceMs(20_000),
    );
    await eventually(
      async () => expect(await ids(one)).toEqual([`127.0.0.1-${ports[1]}-5.1`, '5.1', '7.1', '9.1'].sort()),
      patienceMs(20_000),
    );
    using viewer = await Viewer.open(`${two.url}/channels/${relayed}.ts`);
    await viewer.more(100_000);
    expect(simulator.streams('5.1')).toBe(1);
    // Three more refreshes: nothing goes round.
    for (let refresh = 0; refresh < 3; refresh++) {
      const refreshed = (await two.json('/api/public-streams')).streams.at(-1).updatedAt;
      await eventually(async () => {
        expect((await two.json('/api/public-streams')).streams.at(-1).updatedAt).not.toBe(refreshed);
      }, patienceMs(15_000));
    }
    expect(await ids(two)).toHaveLength(4);
    expect(await ids(one)).toHaveLength(4);
  });

  it('of which one is down: its channels stay listed as stale, and those of others do not', async () => {
    const port = await freePort();
    const start = (...args: string[]) => PublisherProcess.start(args, {}, TEN_TIMES_AS_FAST);
    await using far = await start('--port', String(port), '--source', 'far=http://127.0.0.1:9/far');
    await using near = await start('--source', 'near=http://127.0.0.1:9/near', '--peer', `http://127.0.0.1:${port}`);
    const listed = async () => (await near.json('/api/public-streams')).streams;
    await eventually(async () => expect(await listed()).toHaveLength(2), patienceMs(20_000));
    far.kill('SIGKILL');
    const stale = { id: 'far', stale: true, available: false };
    await eventually(
      async () => expect(await listed()).toMatchObject([{ id: 'near', stale: false }, stale]),
      patienceMs(60_000),
    );
  });
});
