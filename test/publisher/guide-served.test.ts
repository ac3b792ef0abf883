import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { checkAgainstDtd, itemsOf } from '../xmltv/support.ts';
import { guideOf } from './guide-support.ts';
import { ask, PublisherProcess } from './support.ts';

const QUIET = ['--discovery', 'off'];
const isMade = /guide: \d+ programmes for \d of \d channels/;

describe('a publisher with a guide', () => {
  it('serves it valid, packed or not, under the numbers of its lineup, and only if it is news', async () => {
    await using simulator = await HdhomerunSimulator.start();
    const guide = `${simulator.url}/api/xmltv?DeviceAuth=hunter2`;
    const args = ['--device', simulator.url, '--guide', guide, '--source', 'own=http://127.0.0.1:9/own'];
    await using publisher = await PublisherProcess.start([...QUIET, ...args]);
    await publisher.says(/programmes for 3 of 4 channels/);
    const packed = await fetch(`${publisher.url}/xmltv.xml`, { headers: { 'Accept-Encoding': 'gzip' } });
    const plain = await fetch(`${publisher.url}/xmltv.xml`, { headers: { 'Accept-Encoding': 'identity' } });
    expect([packed.headers.get('content-encoding'), plain.headers.get('content-encoding')]).toEqual(['gzip', null]);
    const weighted = await fetch(`${publisher.url}/xmltv.xml`, { headers: { 'Accept-Encoding': 'gzip;q=1.0' } });
    const refused = await fetch(`${publisher.url}/xmltv.xml`, { headers: { 'Accept-Encoding': 'gzip;q=0.0, br' } });
    expect([weighted.headers.get('content-encoding'), refused.headers.get('content-encoding')]).toEqual(['gzip', null]);
    await Promise.all([weighted.arrayBuffer(), refused.arrayBuffer()]);
    const text = await packed.text();
    expect(await plain.text()).toBe(text);
    await checkAgainstDtd(text);
    const items = await itemsOf(text, 100_000);
    const lineup = (await publisher.json('/lineup.json')).map(
      ({ GuideNumber }: { GuideNumber: string }) => GuideNumber,
    );
    expect(items.flatMap((item) => (item.kind === 'channel' ? item.id : [])).sort()).toEqual(lineup.sort());
    const etag = packed.headers.get('etag') as string;
    expect(etag).not.toBe(plain.headers.get('etag'));
    const since = packed.headers.get('last-modified') as string;
    for (const headers of [{ 'If-None-Match': etag }, { 'If-Modified-Since': since }] as Record<string, string>[]) {
      expect((await ask(`${publisher.url}/xmltv.xml`, { headers })).status).toBe(304);
    }
    const head = await ask(`${publisher.url}/xmltv.xml`, { method: 'HEAD' });
    expect([head.status, head.text, head.headers.get('content-type')]).toEqual([
      200,
      '',
      'application/xml; charset=utf-8',
    ]);
    expect(publisher.output + (await ask(`${publisher.url}/metrics`)).text).not.toContain('hunter2');
  });

  it('tells what is on now and next, of one channel or all', async () => {
    await using publisher = await PublisherProcess.start([...QUIET, '--demo']);
    await publisher.says(isMade);
    // The next may begin between two of these requests.
    await eventually(async () => {
      const { channels } = await publisher.json('/api/guide');
      expect(Object.keys(channels)).toEqual(['5.1', '7.1', '9.1']);
      const { now, next, channel } = await publisher.json('/api/guide?channel=5.1');
      expect([channel, now, next]).toEqual(['5.1', channels['5.1'].now, channels['5.1'].next]);
      expect((await publisher.channel('5.1')).programme).toEqual({ now, next });
      expect(Date.parse(now.start)).toBeLessThanOrEqual(Date.now());
      expect(Date.parse(now.stop)).toBeGreaterThan(Date.now());
      expect(next.start).toBe(now.stop);
    });
    expect(await ask(`${publisher.url}/api/guide?channel=%3Cb%3E`)).toMatchObject({
      status: 404,
      json: { status: 404 },
    });
    expect(await publisher.metric('publisher_guide_programmes')).toBeGreaterThan(100);
    expect(await publisher.metric('publisher_guide_age_seconds')).toBeLessThan(60);
  });

  describe('that was started before', () => {
    const kept = temporaryDirectory(afterAll);
    let simulator: HdhomerunSimulator;
    const args = (stateDir: string) => {
      const guide = ['--guide', `${simulator.url}/api/xmltv`];
      return [...QUIET, '--state-dir', stateDir, '--device', simulator.url, ...guide];
    };

    beforeAll(async () => {
      simulator = await HdhomerunSimulator.start();
      await using publisher = await PublisherProcess.start(args(kept));
      await publisher.says(isMade);
    });
    afterAll(() => simulator.close());
    afterEach(() => simulator.heal());

    it.each(['hang-guide', 'empty-guide', 'garbage-guide', 'error-5xx', 'reset'] as const)(
      'has it though its source has the fault %s',
      async (fault) => {
        const stateDir = temporaryDirectory();
        cpSync(kept, stateDir, { recursive: true });
        // So that it pulls again at its start.
        writeFileSync(join(stateDir, 'guide', 'pulls.json'), '{}');
        simulator.misbehave({ fault });
        await using publisher = new PublisherProcess(['--port', '0', ...args(stateDir)]);
        await publisher.says(/dashboard: /, patienceMs(30_000));
        const { text } = await ask(`${publisher.url}/xmltv.xml`);
        expect(text.match(/<programme /g)?.length).toBeGreaterThan(100);
        if (fault !== 'hang-guide') {
          await eventually(
            async () => expect(await publisher.metric('publisher_guide_pull_failures_total')).toBe(1),
            patienceMs(10_000),
          );
          await publisher.says(/guide http\S+: .*; the \d+ programmes it had stay/);
        }
        await eventually(async () => {
          const { now } = await publisher.json('/api/guide?channel=5.1');
          expect(now).toMatchObject({ title: expect.any(String) });
        }, patienceMs(10_000));
      },
    );
  });

  it('has a whole one on the disk whenever it is killed', async () => {
    const stateDir = temporaryDirectory();
    const file = join(stateDir, 'guide.xml');
    const args = [...QUIET, '--state-dir', stateDir, '--source', 'a=http://127.0.0.1:9/a', '--guide', file];
    const kept = join(stateDir, 'guide');
    const write = (round: number) => writeFileSync(file, guideOf({ a: { from: 0, count: 3_000, title: `r${round}` } }));
    write(0);
    await using first = await PublisherProcess.start(args);
    await first.says(isMade);
    first.kill('SIGKILL');
    await first.exited;
    for (let round = 1; round <= 3; round++) {
      write(round);
      await using publisher = new PublisherProcess(['--port', '0', ...args]);
      await untilWriting(kept);
      publisher.kill('SIGKILL');
      await publisher.exited;
      for (const name of readdirSync(kept).filter((name) => name.endsWith('.xml.gz'))) {
        const items = await itemsOf(gunzipSync(readFileSync(join(kept, name))), 100_000);
        expect(items.filter(({ kind }) => kind === 'programme').length).toBe(3_000);
      }
    }
  });
});

/** Without a pause: a temporary file is there for moments only. */
async function untilWriting(folder: string): Promise<void> {
  const deadline = performance.now() + patienceMs(20_000);
  while (!readdirSync(folder).some((name) => /\.xml\.gz\..*tmp$/.test(name))) {
    if (performance.now() > deadline) throw new Error(`nothing is written: ${readdirSync(folder)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
