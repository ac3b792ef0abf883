import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, type Json, PublisherProcess, pidsOfChildren, Viewer } from './support.ts';

let simulator: HdhomerunSimulator;

beforeAll(async () => {
  simulator = await HdhomerunSimulator.start();
});
afterAll(() => simulator.close());

/** A publisher with a configuration file, which can be changed. */
async function publish(first: Json): Promise<{ publisher: PublisherProcess; reload: (next: Json | string) => void }> {
  const path = join(temporaryDirectory(), 'publisher.json');
  const write = (config: Json | string) =>
    writeFileSync(path, typeof config === 'string' ? config : JSON.stringify(config));
  write({ device: [simulator.url], ...first });
  const publisher = await PublisherProcess.start(['--config', path, '--lock-dir', temporaryDirectory()]);
  await publisher.says(/3 channels/);
  const reload = (next: Json | string) => {
    write(typeof next === 'string' ? next : { device: [simulator.url], ...next });
    publisher.kill('SIGHUP');
  };
  return { publisher, reload };
}

describe('a reload on SIGHUP', () => {
  it('applies what changed and leaves who watches alone', async () => {
    const { publisher, reload } = await publish({ maxViewers: 5 });
    await using _publisher = publisher;
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    const before = pidsOfChildren(publisher.pid);
    reload({ maxViewers: 1, logLevel: 'warn' });
    await publisher.says(/reload: applied maxViewers, logLevel/);
    expect((await ask(`${publisher.url}/channels/5.1.ts`)).status).toBe(429);
    await viewer.more();
    expect(pidsOfChildren(publisher.pid)).toEqual(before);
    expect([isRunning(publisher.pid), viewer.isGone]).toEqual([true, false]);
  });

  it('leaves a device that does not answer now what it has told', async () => {
    const { publisher, reload } = await publish({});
    await using _publisher = publisher;
    simulator.misbehave({ fault: 'hang-lineup' });
    onTestFinished(() => simulator.heal());
    reload({ source: { more: '/nowhere/more.ts' } });
    await publisher.says(/reload: applied source/);
    await eventually(async () => expect((await publisher.channel('more')).id).toBe('more'));
    const { devices } = await publisher.json('/api/tuners');
    expect(devices).toMatchObject([{ channels: 3, refreshedAt: expect.any(String) }]);
    expect(await publisher.channel('5.1')).toMatchObject({ available: true });
  });

  it.each([
    [
      'can not be read as JSON',
      '{"maxViewers":',
      /SIGHUP: the configuration is refused, and what runs goes on as it is:\n {2}--config \S+: /,
    ],
    [
      'has a wrong value',
      { maxViewers: 0, prot: 1 },
      /is refused[^\n]*\n {2}\S+: maxViewers must be[^\n]*\n {2}\S+: prot is unknown; did you mean port\?/,
    ],
  ])('of a file that %s is refused as a whole', async (_, next, complaint) => {
    const { publisher, reload } = await publish({ maxViewers: 1 });
    await using _publisher = publisher;
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    reload(typeof next === 'string' ? next : { logLevel: 'error', ...next });
    await publisher.says(complaint);
    expect((await ask(`${publisher.url}/channels/5.1.ts`)).status).toBe(429);
    await viewer.more();
    reload({ maxViewers: 2 });
    await publisher.says(/reload: applied maxViewers/);
  });

  it('adds and removes devices, sources and overrides, and leaves who watches another alone', async () => {
    const other = await HdhomerunSimulator.start({ deviceId: '1234ABC2' });
    const { publisher, reload } = await publish({ source: { a: '/nowhere/a.ts', b: '/nowhere/b.ts' } });
    await using _publisher = publisher;
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    const ids = async () => (await publisher.json('/api/channels')).channels.map(({ id }: Json) => id).sort();
    expect(await ids()).toEqual(['5.1', '7.1', '9.1', 'a', 'b']);
    reload({ source: { b: '/nowhere/b.ts', c: '/nowhere/c.ts' }, channel: { '9.1': { enabled: false } } });
    await publisher.says(/reload: applied source, channel/);
    await eventually(async () => expect(await ids()).toEqual(['5.1', '7.1', 'b', 'c']));
    reload({ source: { d: '/nowhere/d.ts' }, device: [simulator.url, other.url] });
    await eventually(async () => expect((await publisher.json('/api/tuners')).devices).toHaveLength(2));
    await eventually(async () => expect(await ids()).toEqual(['5.1', '7.1', '9.1', 'd']));
    await viewer.more();
    expect([simulator.streams() + other.streams(), viewer.isGone]).toEqual([1, false]);
    await other.close();
  });

  it('of a time applies to a channel that is watched when nobody watches it any more', async () => {
    const { publisher, reload } = await publish({ closeAfterMs: 0 });
    await using _publisher = publisher;
    const viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    reload({ closeAfterMs: 60_000 });
    await publisher.says(/reload: applied closeAfterMs/);
    await viewer.more();
    viewer.leave();
    await eventually(() => expect(simulator.streams()).toBe(0));
    for (const id of ['5.1', '7.1']) {
      const next = await Viewer.open(`${publisher.url}/channels/${id}.ts`);
      await next.more();
      next.leave();
    }
    await eventually(async () => expect((await publisher.channel('5.1')).viewers).toBe(0));
    expect(simulator.streams()).toBe(2);
  });

  it('takes tokens that are in files', async () => {
    const file = join(temporaryDirectory(), 'token');
    writeFileSync(file, 'the-first-of-two-tokens');
    const { publisher, reload } = await publish({ operatorTokenFile: file });
    await using _publisher = publisher;
    const stop = (token: string) =>
      ask(`${publisher.url}/api/channels/5.1/stop`, { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    expect((await stop('the-first-of-two-tokens')).status).toBe(202);
    writeFileSync(file, 'the-second-of-two-tokens');
    reload({ operatorTokenFile: file });
    await publisher.says(/reload: applied operatorToken/);
    expect((await stop('the-first-of-two-tokens')).status).toBe(401);
    expect((await stop('the-second-of-two-tokens')).status).toBe(202);
    expect(publisher.output).not.toContain('of-two-tokens');
  });

  it('adds and removes guides and names, and makes the guide anew for the channels that there are then', async () => {
    await using other = await HdhomerunSimulator.start({ channels: [{ number: '44.1', name: 'Other Device' }] });
    const { publisher, reload } = await publish({ source: { old: 'http://127.0.0.1:9/old' } });
    await using _publisher = publisher;
    await publisher.says(/3 channels/);
    using viewer = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
    await viewer.more();
    const opens = simulator.opens('5.1');
    const guide = [`${simulator.url}/api/xmltv`];
    const channel = { '5.1': { name: 'Renamed' }, '7.1': { enabled: false }, '99.9': { name: 'Nobody' } };
    reload({ device: [simulator.url, other.url], source: { fresh: 'http://127.0.0.1:9/new' }, channel, guide });
    const listed = async () =>
      (await publisher.json('/api/public-streams')).streams.map(({ id, name }: Json) => `${id} ${name}`).sort();
    const all = ['44.1 Other Device', '5.1 Renamed', '9.1 Evening Film', 'fresh fresh'];
    await eventually(async () => expect(await listed()).toEqual(all));
    await publisher.says(/channel 99\.9: no channel has this id or number yet/);
    await publisher.says(/guide: \d+ programmes for 2 of 4 channels/);
    await viewer.more();
    expect([viewer.isGone, simulator.opens('5.1')]).toEqual([false, opens]);
    reload({});
    await eventually(async () =>
      expect(await listed()).toEqual(['5.1 Harbour News', '7.1 Granite Sport', '9.1 Evening Film']),
    );
    await viewer.more();
    expect([viewer.isGone, simulator.opens('5.1')]).toEqual([false, opens]);
  });

  it('names what waits for a restart, and says if nothing changed', async () => {
    const { publisher, reload } = await publish({});
    await using _publisher = publisher;
    reload({});
    await publisher.says(/reload: nothing changed/);
    for (const maxViewers of [1, 2]) {
      reload({ bind: '0.0.0.0', demo: true, stateDir: '/nowhere', maxViewers });
      const line = 'reload: not applied before the next start: bind, demo, stateDir\n.*reload: applied maxViewers\n';
      await publisher.says(new RegExp(`(${line}[\\s\\S]*){${maxViewers}}`));
    }
    // It listens where it did, and guards that.
    const other = request(`${publisher.url}/api/channels`, { headers: { Host: 'evil.example' } }).end();
    const [answer] = await once(other, 'response');
    expect(answer.resume().statusCode).toBe(421);
  });

  it('may be asked for again and again, and during the start', async () => {
    const { publisher, reload } = await publish({});
    await using _publisher = publisher;
    for (let count = 1; count <= 20; count += 1) reload({ maxViewers: count });
    await eventually(() => expect(publisher.output).toMatch(/reload: [\s\S]*reload: /));
    await eventually(async () => {
      reload({ maxViewers: 20 });
      expect(publisher.output).toMatch(/reload: nothing changed\n$/);
    });
  });
});
