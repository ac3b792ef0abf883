import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

  it('names what waits for a restart, and says if nothing changed', async () => {
    const { publisher, reload } = await publish({});
    await using _publisher = publisher;
    reload({});
    await publisher.says(/reload: nothing changed/);
    reload({ demo: true, stateDir: '/nowhere' });
    await publisher.says(/reload: not applied before the next start: demo, stateDir/);
    expect((await ask(`${publisher.url}/healthz`)).status).toBe(200);
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
