import { describe, expect, it } from 'vitest';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PublisherProcess, streamsOf, Viewer } from './support.ts';

describe('npm start', () => {
  it('runs the demo: within seconds it says where the dashboard is and what to paste into a player', async () => {
    const begun = performance.now();
    await using publisher = new PublisherProcess(['--port', '0', '--lock-dir', temporaryDirectory()]);
    await publisher.says(/watch: /, promisedMs(5_000));
    console.log(`npm start to the address of a channel: ${Math.round(performance.now() - begun)} ms`);
    expect(publisher.output).toMatch(/demo: simulated tuner \w{8} at \S+ with 2 tuners and 3 channels/);
    const [, url = ''] = /watch: ffplay (\S+)/.exec(publisher.output) ?? [];
    expect(url).toBe(`${publisher.url}/channels/5.1.ts`);
    expect(await streamsOf(url)).toEqual(['audio', 'video']);
    expect(publisher.output).toMatch(/channel 5\.1: opening http[\s\S]*channel 5\.1: live, first bytes after \d+ ms/);
    expect((await publisher.json('/api/channels')).demo).toBe(true);
  });

  it('writes one JSON object per record with --log json, with the channel in those of a channel', async () => {
    await using publisher = new PublisherProcess(['--port', '0', '--lock-dir', temporaryDirectory(), '--log', 'json']);
    await publisher.says(/watch: /);
    using viewer = await Viewer.open(`${publisher.url}/channels/7.1.ts`);
    await viewer.more(188);
    const records = publisher.output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    // What other tests have left behind is warned of.
    const own = records.filter(({ msg }) => !msg.startsWith('not of this publisher'));
    for (const record of own) expect(record).toMatchObject({ level: 'info', time: expect.stringMatching(/T.*Z$/) });
    expect(own).toContainEqual(expect.objectContaining({ channel: '7.1', msg: expect.stringContaining('live') }));
  });
});
