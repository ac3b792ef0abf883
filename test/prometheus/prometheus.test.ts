import { PassThrough } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Registry as Successor } from '@prometheus-io/client';
import { CircuitBreaker, FanoutHub, ManagedChild, ProcessPool, SourceLock, Supervisor, TokenBucket } from 'holdfast';
import { instrument } from 'holdfast/prometheus';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const source = 'http://joe:secret@192.168.1.20/auto/v5.1';
let registry: Registry;
/** The same under its new name; it shows whatever the other does. */
let successor: Successor;
let metrics: Disposable[];
beforeEach(() => {
  registry = new Registry();
  successor = new Successor();
  metrics = [instrument(registry), instrument(successor)];
});
afterEach(() => {
  for (const each of metrics) each[Symbol.dispose]();
});

/** The values as a scrape shows them, by name and labels. */
async function scrape(): Promise<Record<string, number>> {
  const texts = await Promise.all([registry.metrics(), successor.metrics()]);
  const [samples = {}, others = {}] = texts.map(samplesOf);
  expect(Object.keys(others)).toEqual(Object.keys(samples));
  return samples;
}

function samplesOf(text: string): Record<string, number> {
  const lines = text.split('\n').filter((line) => line && !line.startsWith('#'));
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
    holdfast_pool_spawn_timeout_total: 0,
    holdfast_pool_acquisition_latency_seconds_count: 0,
    holdfast_restart_storms_total: 0,
    holdfast_restart_rate_per_minute: 0,
    holdfast_token_bucket_available: 0,
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
    const totals = {
      ...{ holdfast_fanout_bytes_in_total: 1000, holdfast_fanout_bytes_out_total: 1000 },
      ...{ holdfast_fanout_slices_total: 1, holdfast_fanout_skipped_bytes_total: 0 },
    };
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

test('a hub shows how far the slowest subscriber is behind, who skipped, and what of it', async () => {
  const source = new PassThrough();
  await using hub = new FanoutHub({ name: 'seven', source: () => source, maxLagBytes: 3, sliceMs: 0, onLag: 'skip' });
  hub.subscribe();
  const lag = 'holdfast_fanout_lag_bytes{name="seven"}';
  source.write('four');
  await eventually(async () => expect(await scrape()).toMatchObject({ [lag]: 4 }));
  const before = await scrape();
  source.write('five5');
  await eventually(async () =>
    expect(await scrape()).toMatchObject({
      ...{ [lag]: 0, holdfast_fanout_skips_total: (before.holdfast_fanout_skips_total as number) + 1 },
    }),
  );
  source.write('on');
  await eventually(async () =>
    expect(await scrape()).toMatchObject({
      ...{ [lag]: 2, holdfast_fanout_skipped_bytes_total: (before.holdfast_fanout_skipped_bytes_total as number) + 9 },
    }),
  );
  expect(await scrape()).not.toHaveProperty(['holdfast_fanout_dropped_total{name="seven",reason="lagged"}']);
});

describe('failure control', () => {
  test('a circuit is shown by its name as 0, 1 or 2; of two of one name the worse', async () => {
    using first = new CircuitBreaker({ name: 'tuner', failureThreshold: 1, cooldownMs: 1_000 });
    const state = 'holdfast_circuit_breaker_state{id="tuner"}';
    expect(await scrape()).toMatchObject({ [state]: 0 });
    first.recordFailure();
    expect(await scrape()).toMatchObject({ [state]: 2 });
    await eventually(async () => expect(await scrape()).toMatchObject({ [state]: 1 }));
    const second = new CircuitBreaker({ name: 'tuner' });
    using _isolated = second.isolate();
    expect(await scrape()).toMatchObject({ [state]: 2 });
    second[Symbol.dispose]();
    expect(await scrape()).toMatchObject({ [state]: 1 });
    first[Symbol.dispose]();
    expect(await scrape()).not.toHaveProperty([state]);
  });

  test('the tokens of all buckets that are open are added up', async () => {
    const buckets = [3, 4].map((capacity) => new TokenBucket({ capacity, refillPerSecond: 0.001 }));
    expect((await scrape()).holdfast_token_bucket_available).toBeCloseTo(7);
    buckets[0]?.close();
    expect((await scrape()).holdfast_token_bucket_available).toBeCloseTo(4);
    buckets[1]?.close();
  });

  test('a pool shows who has and who waits for a slot, how long that took, and what came too late', async () => {
    const pool = new ProcessPool({ max: 1, acquire: { spawnTimeoutMs: 20, maxAttempts: 1 } });
    const sleeper = () => ManagedChild.spawn('sleep', ['300'], { graceMs: 0 });
    await pool.acquire(() => new Promise<ManagedChild>(() => {})).catch(() => {});
    const other = new ProcessPool({ max: 1 });
    await using lease = await other.acquire(sleeper);
    const waiting = other.acquire(sleeper);
    expect(await scrape()).toMatchObject({
      holdfast_pool_spawn_timeout_total: 1,
      holdfast_pool_active: 1,
      holdfast_pool_max: 2,
      holdfast_pool_waiting: 1,
      holdfast_pool_acquisition_latency_seconds_count: 1,
      'holdfast_pool_acquisition_latency_seconds_bucket{le="+Inf"}': 1,
      'holdfast_pool_acquisition_latency_seconds_bucket{le="90"}': 1,
    });
    await lease.release();
    await (await waiting).release();
    await other.close();
    expect(await scrape()).toMatchObject({ holdfast_pool_active: 0, holdfast_pool_max: 1, holdfast_pool_waiting: 0 });
  });

  test('a supervisor shows restarts by service, storms and silences, and forgets what is stopped', async () => {
    const supervisor = new Supervisor({
      ...{ intensity: 2, cooldownMs: 0, breaker: false, stableAfterMs: 60, startGraceMs: 0 },
      backoff: { minMs: 0 },
      heartbeat: { timeoutMs: 10, misses: 1 },
    });
    supervisor.start('silent', ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', reject)));
    await eventually(async () =>
      expect(await scrape()).toMatchObject({
        'holdfast_restarts_total{id="silent"}': 2,
        holdfast_restart_rate_per_minute: 2,
        holdfast_restart_storms_total: 1,
        'holdfast_health_timeouts_total{id="silent"}': 3,
      }),
    );
    await supervisor.close();
    const after = await scrape();
    expect(after).not.toHaveProperty(['holdfast_restarts_total{id="silent"}']);
    expect(after).not.toHaveProperty(['holdfast_health_timeouts_total{id="silent"}']);
    expect(after).toMatchObject({ holdfast_restart_storms_total: 1 });
  });
});

test('what is dropped without a word is not kept by being shown', async () => {
  const { gc } = globalThis as { gc?: () => void };
  const references = Array.from({ length: 1_000 }, (_, n) => new WeakRef(new CircuitBreaker({ name: `key ${n}` })));
  setFlagsFromString('--expose-gc');
  const collect = gc ?? (runInNewContext('gc') as () => void);
  await eventually(() => {
    collect();
    expect(references.filter((reference) => reference.deref()).length).toBe(0);
  });
  expect(Object.keys(await scrape()).filter((name) => name.includes('circuit_breaker'))).toEqual([]);
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
