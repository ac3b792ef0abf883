import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Registry } from '@prometheus-io/client';
import { expect, it } from 'vitest';
import { LoopDelay } from '../../examples/publisher/loop-delay.ts';
import { eventually } from '../support/eventually.ts';
import { childrenOf } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PublisherProcess } from './support.ts';

/** How often the main thread of a process has waited for something and gone on. */
function wakesOf(pid: number): number {
  const [, count] = /^voluntary_ctxt_switches:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(count);
}

it('a publisher that nobody watches or scrapes has no children, and hardly wakes up', async () => {
  await using publisher = await PublisherProcess.start([
    '--source',
    'a=/nowhere.ts',
    '--lock-dir',
    temporaryDirectory(),
  ]);
  // What a start leaves to be done takes a moment; then there is a wake or two, of the server's look at slow requests.
  await eventually(async () => {
    const before = wakesOf(publisher.pid);
    await sleep(1_500);
    expect(wakesOf(publisher.pid) - before).toBeLessThan(8);
  }, 15_000);
  expect(childrenOf(publisher.pid)).toEqual([]);
});

async function delays(registry: Registry): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).matchAll(/^nodejs_eventloop_lag_(\w+)_seconds (\S+)$/gm);
  return Object.fromEntries([...lines].map(([, name, value]) => [name, Number(value)]));
}

function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

const NOTHING = { min: 0, max: 0, mean: 0, stddev: 0, p50: 0, p90: 0, p99: 0 };

it('how late the event loop was is told from one scrape to the next, without the pauses between looks', async () => {
  const registry = new Registry();
  using _delay = new LoopDelay(registry);
  await sleep(250);
  expect(await delays(registry)).toEqual(NOTHING);
  await sleep(550);
  expect((await delays(registry)).min).toBeLessThan(promisedMs(90) / 1_000);
  await sleep(150);
  block(500);
  await sleep(150);
  expect((await delays(registry)).max).toBeGreaterThan(0.3);
});

it('how late the event loop is, is not looked at when nobody has scraped for a while', async () => {
  const registry = new Registry();
  using _delay = new LoopDelay(registry, 1);
  await delays(registry);
  await sleep(50);
  block(300);
  await sleep(150);
  expect(await delays(registry)).toEqual(NOTHING);
});
