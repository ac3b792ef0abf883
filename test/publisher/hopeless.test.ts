import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { HdhomerunSimulator } from '../../examples/hdhomerun/index.ts';
import { eventually } from '../support/eventually.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask, makeRecording, PublisherProcess, Viewer } from './support.ts';

const RECORDING_MS = 2_000;
const BAD = ['bad1', 'bad2', 'bad3', 'bad4', 'bad5', 'bad6'];

/** Gives whoever asks a recording again and again, until it is cut; from then on nothing but 500. */
async function passingSource() {
  const recording = join(temporaryDirectory(), 'recording.ts');
  await makeRecording(recording);
  const content = readFileSync(recording);
  const open: ServerResponse[] = [];
  const refused: number[] = [];
  let isCut = false;
  const server = createServer((_, response) => {
    if (isCut) {
      refused.push(performance.now());
      response.writeHead(500).end();
      return;
    }
    open.push(response);
    const again = setInterval(() => response.write(content), RECORDING_MS);
    response.on('close', () => clearInterval(again));
    response.write(content);
  }).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await eventually(() => expect(server.listening).toBe(true));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** When it was asked in vain. */
    refused,
    cut() {
      isCut = true;
      for (const response of open) response.destroy();
    },
  };
}

it('channels whose source fails for ever: their restarts are bounded, nothing works between them, and the others go on', async () => {
  await using simulator = await HdhomerunSimulator.start();
  const source = await passingSource();
  const sources = BAD.flatMap((id) => ['--source', `${id}=${source.url}/${id}`]);
  await using publisher = await PublisherProcess.start([
    ...['--device', simulator.url, '--lock-dir', temporaryDirectory(), '--restart-cooldown-ms', '0'],
    ...sources,
  ]);
  await publisher.says(/3 channels/);
  using good = await Viewer.open(`${publisher.url}/channels/5.1.ts`);
  const viewers = await Promise.all(BAD.map((id) => Viewer.open(`${publisher.url}/channels/${id}.ts`)));
  for (const viewer of viewers) await viewer.more();

  source.cut();
  await eventually(
    async () => expect(await publisher.metric('holdfast_restart_storms_total')).toBe(1),
    patienceMs(30_000),
  );
  await publisher.says(/no channel is opened again for \d+ s/);
  expect(await publisher.metric('holdfast_restarts_total')).toBe(10);
  // The last of them is under way.
  await eventually(() => expect(source.refused).toHaveLength(10));
  const cpuSeconds = () => publisher.metric('process_cpu_seconds_total');

  const [bytes, cpu, begin] = [good.bytes, await cpuSeconds(), performance.now()];
  await good.more(500_000, patienceMs(30_000));
  const seconds = (performance.now() - begin) / 1_000;
  const used = ((await cpuSeconds()) - cpu) / seconds;
  console.log(`after 10 restarts ${(100 * used).toFixed(1)} % of a core for ${seconds.toFixed(1)} s`);
  expect(used).toBeLessThan(0.15);
  expect(source.refused).toHaveLength(10);
  expect(good.bytes).toBeGreaterThan(bytes);

  expect(viewers.filter(({ isGone }) => isGone)).toEqual([]);
  const { status, headers, json } = await ask(`${publisher.url}/channels/bad1.ts`);
  expect([status, json.code]).toEqual([503, 'HOLDFAST_RESTART_REFUSED']);
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await publisher.channel('bad1')).available).toBe(false);
  for (const viewer of viewers) viewer.leave();
});
