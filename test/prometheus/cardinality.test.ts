import { PassThrough, Writable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AggregatorRegistry, Gauge, Registry } from '@prometheus-io/client';
import { CircuitBreaker, FanoutHub, Supervisor } from 'holdfast';
import { instrument } from 'holdfast/prometheus';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

let registry: Registry;
let metrics: Disposable;
beforeEach(() => {
  registry = new Registry();
  metrics = instrument(registry);
});
afterEach(() => metrics[Symbol.dispose]());

/** The lines of a scrape that begin so. */
async function lines(beginning: string): Promise<string[]> {
  return (await registry.metrics()).split('\n').filter((line) => line.startsWith(beginning));
}

/** A hub whose one subscriber was dropped: it reads nothing. */
async function hubWithADrop(name: string): Promise<FanoutHub> {
  const hub = new FanoutHub({
    ...{ name, maxLagBytes: 1_000, sliceMs: 0 },
    source: ({ signal }) => {
      const stream = new PassThrough();
      const feed = setInterval(() => stream.write(Buffer.alloc(600)), 1);
      signal.addEventListener('abort', () => clearInterval(feed));
      return stream;
    },
  });
  await hub.pipe(new PassThrough({ highWaterMark: 1 })).ended;
  return hub;
}

async function collected(references: readonly WeakRef<object>[]): Promise<void> {
  await eventually(() => {
    gc();
    expect(references.filter((reference) => reference.deref())).toEqual([]);
  });
}

describe('a hub that is collected without being closed', () => {
  test('takes its series with it', async () => {
    const references: WeakRef<object>[] = [];
    for (const name of ['a', 'b']) references.push(new WeakRef(await hubWithADrop(name)));
    expect(await lines('holdfast_fanout_dropped_total{')).toHaveLength(2);
    await collected(references);
    await eventually(async () => expect(await lines('holdfast_fanout_dropped_total{')).toEqual([]));
    expect(await lines('holdfast_fanout_subscribers{')).toEqual([]);
  });

  test('takes nothing from a counter', async () => {
    const watch = async () => {
      const hub = new FanoutHub({ source: () => PassThrough.from([Buffer.alloc(1_000)]) });
      await hub.pipe(new PassThrough().resume()).ended;
      return new WeakRef(hub);
    };
    const reference = await watch();
    const counted = ['holdfast_fanout_bytes_in_total 1000'];
    expect(await lines('holdfast_fanout_bytes_in_total')).toEqual(counted);
    await collected([reference]);
    expect(await lines('holdfast_fanout_bytes_in_total')).toEqual(counted);
  });
});

test('a series that two have goes with the last of them', async () => {
  const [first, second] = [await hubWithADrop('news'), await hubWithADrop('news')];
  await first.close();
  expect(await lines('holdfast_fanout_dropped_total{')).toEqual([
    'holdfast_fanout_dropped_total{name="news",reason="lagged"} 2',
  ]);
  await second.close();
  expect(await lines('holdfast_fanout_dropped_total{')).toEqual([]);
});

test('who is dropped while the rest is flushed, its hub closed, is counted as long as another has the name', async () => {
  const source = new PassThrough();
  const closed = new FanoutHub({ name: 'news', source: () => source, sliceMs: 0, maxLagMs: 100 });
  await using namesake = new FanoutHub({ name: 'news', source: () => new PassThrough() });
  const { live, ended } = closed.pipe(new Writable({ write() {} }).on('error', () => {}));
  source.write('x');
  await live;
  await closed.close();
  expect(await ended).toMatchObject({ reason: 'lagged' });
  expect(await lines('holdfast_fanout_dropped_total{')).toEqual([
    'holdfast_fanout_dropped_total{name="news",reason="lagged"} 1',
  ]);
  await namesake.close();
  expect(await lines('holdfast_fanout_dropped_total{')).toEqual([]);
});

test('no credential is in a label, whatever was named after a URL', async () => {
  const url = 'rtsp://joe:secret@10.0.0.5/1?token=secret';
  using _breaker = new CircuitBreaker({ name: url });
  await using _hub = new FanoutHub({ name: url, source: () => new PassThrough() });
  await using supervisor = new Supervisor();
  await supervisor.attempt(url, () => Promise.reject(new Error('broken'))).catch(() => {});
  const text = await registry.metrics();
  expect(text.match(/10\.0\.0\.5/g)?.length).toBeGreaterThanOrEqual(3);
  expect(text).not.toContain('secret');
});

test('of several processes the worst state of a circuit is shown, not their sum', async () => {
  using breaker = new CircuitBreaker({ name: 'tuner' });
  breaker.isolate();
  const json = await registry.getMetricsAsJSON();
  const all = AggregatorRegistry.aggregate([json, json, json] as never);
  expect(await all.metrics()).toContain('holdfast_circuit_breaker_state{id="tuner"} 2');
});

test('disposing twice takes out nothing that another has put in since', async () => {
  metrics[Symbol.dispose]();
  using _others = instrument(registry);
  metrics[Symbol.dispose]();
  expect(await lines('holdfast_children_active')).toHaveLength(1);
});

test('a name that is taken is refused, and nothing is left behind', async () => {
  const own = new Registry();
  new Gauge({ name: 'holdfast_pool_active', help: 'mine', registers: [own] });
  expect(() => instrument(own)).toThrow('holdfast_pool_active');
  expect(await own.getMetricsAsJSON()).toHaveLength(1);
});
