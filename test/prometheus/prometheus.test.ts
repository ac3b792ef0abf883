import { PassThrough } from 'node:stream';
import { FanoutHub, ManagedChild, SourceLock } from 'holdfast';
import { instrument } from 'holdfast/prometheus';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const source = 'http://joe:secret@192.168.1.20/auto/v5.1';
let registry: Registry;
let metrics: Disposable;
beforeEach(() => {
  registry = new Registry();
  metrics = instrument(registry);
});
afterEach(() => metrics[Symbol.dispose]());

/** The values as a scrape shows them, by name and labels. */
async function scrape(): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
  );
}

test('counters exist at 0 before anything happened, so that their rates are known from the first event on', async () => {
  expect(await scrape()).toMatchObject({
    holdfast_source_lock_refused_total: 0,
    holdfast_source_lock_reclaimed_total: 0,
    holdfast_children_active: 0,
    holdfast_fanout_bytes_in_total: 0,
    holdfast_fanout_bytes_out_total: 0,
  });
});

test('a lock is shown while it is held, by its key without credentials, and refusals are counted', async () => {
  const dir = temporaryDirectory();
  const lock = await SourceLock.acquire(source, { dir });
  await SourceLock.tryAcquire(source, { dir });
  const held = 'holdfast_source_lock_held{key="url:http://192.168.1.20/auto/v5.1"}';
  expect(await scrape()).toMatchObject({ [held]: 1, holdfast_source_lock_refused_total: 1 });
  await lock.release();
  expect(await scrape()).not.toHaveProperty([held]);
});

test('children are counted while their tree lives, and by the cause of their end', async () => {
  const child = await ManagedChild.spawn('sleep', ['300']);
  expect(await scrape()).toMatchObject({ holdfast_children_active: 1 });
  await child.terminate();
  expect(await scrape()).toMatchObject({
    holdfast_children_active: 0,
    'holdfast_child_exits_total{reason="terminated"}': 1,
    holdfast_child_escapees_total: 0,
  });
});

describe('a hub', () => {
  test('shows its subscribers and bytes, and its series go when it is closed while the totals stay', async () => {
    const hub = new FanoutHub({ name: 'five', source: () => PassThrough.from([Buffer.alloc(1000)]) });
    const { ended } = hub.pipe(new PassThrough().resume());
    expect(await scrape()).toMatchObject({ 'holdfast_fanout_subscribers{name="five"}': 1 });
    await ended;
    const totals = { holdfast_fanout_bytes_in_total: 1000, holdfast_fanout_bytes_out_total: 1000 };
    expect(await scrape()).toMatchObject(totals);
    await hub.close();
    expect(await scrape()).toMatchObject(totals);
    expect(await scrape()).not.toHaveProperty(['holdfast_fanout_subscribers{name="five"}']);
  });

  test('counts the subscribers it dropped, by reason', async () => {
    const hub = new FanoutHub({ name: 'six', source: endless, maxLagBytes: 1000, sliceMs: 0 });
    await using _closed = hub;
    const { ended } = hub.pipe(new PassThrough({ highWaterMark: 1 }));
    await ended;
    await eventually(async () =>
      expect(await scrape()).toMatchObject({ 'holdfast_fanout_dropped_total{name="six",reason="lagged"}': 1 }),
    );
  });
});

function endless({ signal }: { signal: AbortSignal }): PassThrough {
  const stream = new PassThrough();
  const feed = setInterval(() => stream.write(Buffer.alloc(600)), 1);
  signal.addEventListener('abort', () => clearInterval(feed));
  return stream;
}

test('another prefix names all of them, and disposal takes them out again', async () => {
  const own = new Registry();
  const mine = instrument(own, { prefix: 'tv' });
  expect(await own.metrics()).toMatch(/^# HELP tv_source_lock_held /m);
  expect(await own.metrics()).not.toContain('holdfast_');
  mine[Symbol.dispose]();
  expect((await own.metrics()).trim()).toBe('');
});

test('a scrape in the OpenMetrics format names counters once with _total', async () => {
  const open = new Registry();
  open.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  using _metrics = instrument(open);
  expect(await open.metrics()).toMatch(/^holdfast_fanout_bytes_in_total 0$/m);
});

test('a prefix that can not name a metric is refused', () => {
  expect(() => instrument(new Registry(), { prefix: 'my tv' })).toThrow('prefix');
});
