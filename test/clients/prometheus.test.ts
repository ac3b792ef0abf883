import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { ask, Viewer } from '../publisher/support.ts';
import { debianProgram } from '../support/debian.ts';
import { patienceMs } from '../support/promised.ts';
import { startHouse } from './support.ts';

const promtool = await debianProgram('promtool', ['prometheus']);
const house = startHouse();

/** What the parser of Prometheus itself says of the metrics as they are now. */
async function complaints(): Promise<string> {
  const { text } = await ask(`${house.publisher.url}/metrics`);
  expect(text).toContain('holdfast_fanout_subscribers');
  const { path, env } = promtool as NonNullable<typeof promtool>;
  const parser = spawn(path, ['check', 'metrics'], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [parser.stdout, parser.stderr]) stream.on('data', (chunk) => (said += chunk));
  parser.stdin.end(text);
  await once(parser, 'close');
  return said;
}

describe.skipIf(!promtool)('the parser of Prometheus', () => {
  it('reads the metrics of a publisher that is watched in every way, and of one whose source fails', async () => {
    const viewers = await Promise.all(
      ['', '?profile=low', '?profile=audio'].map((query) => Viewer.open(house.stream('5.1', query))),
    );
    for (const viewer of viewers) await viewer.more(5_000, patienceMs(20_000));
    await ask(house.hls('7.1'));
    expect(await complaints()).not.toMatch(/error|parse/i);
    house.simulator.misbehave({ fault: 'tune-failed' });
    house.simulator.misbehave({ fault: 'cut', channel: '5.1', times: 1 });
    expect((await ask(house.stream('9.1'))).status).toBeGreaterThanOrEqual(500);
    expect(await complaints()).not.toMatch(/error|parse/i);
    house.simulator.heal();
    for (const viewer of viewers) viewer.leave();
  });
});
