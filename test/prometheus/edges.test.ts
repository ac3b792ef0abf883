import { Registry as Successor, AggregatorRegistry as SuccessorOfAggregator } from '@prometheus-io/client';
import { CircuitBreaker, FanoutHub, TokenBucket } from 'holdfast';
import { instrument } from 'holdfast/prometheus';
import { AggregatorRegistry, Gauge, Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';

/** The lines of a scrape that are about a metric, as they are. */
const lines = (text: string, name: string) => text.split('\n').filter((line) => line.startsWith(`holdfast_${name}`));

describe.each([
  ['prom-client', Registry, AggregatorRegistry],
  ['its successor', Successor, SuccessorOfAggregator],
])('with %s', (_, Client, Aggregator) => {
  test('a name with quotes, backslashes and line ends is one label of one line', async () => {
    const registry = new Client();
    using _metrics = instrument(registry);
    using _breaker = new CircuitBreaker({ name: 'a"b\\c\nholdfast_children_active 99\n{d="e"}' });
    expect(lines(await registry.metrics(), 'circuit_breaker_state')).toEqual([
      'holdfast_circuit_breaker_state{id="a\\"b\\\\c\\nholdfast_children_active 99\\n{d=\\"e\\"}"} 0',
    ]);
    expect(lines(await registry.metrics(), 'children_active')).toEqual(['holdfast_children_active 0']);
  });

  test('what is closed while a scrape is under way disturbs neither that nor the next', async () => {
    const registry = new Client();
    using _metrics = instrument(registry);
    const breakers = Array.from({ length: 20 }, (_, n) => new CircuitBreaker({ name: `circuit ${n}` }));
    const bucket = new TokenBucket({ capacity: 1, refillPerSecond: 1 });
    // Before the registry is at the metrics of this library.
    const own = new Gauge({
      name: 'a_first',
      help: 'closes all',
      registers: [],
      collect() {
        for (const breaker of breakers.splice(0, 10)) breaker[Symbol.dispose]();
        bucket.close();
      },
    });
    registry.registerMetric(own as never);
    const [first, second] = await Promise.all([registry.metrics(), registry.metrics()]);
    for (const text of [first, second]) expect(text).toMatch(/^holdfast_token_bucket_available \d$/m);
    expect(lines(await registry.metrics(), 'circuit_breaker_state')).toEqual([]);
  });

  test('default labels are shown with ours, and do not stick to them', async () => {
    const registry = new Client();
    using _metrics = instrument(registry);
    using _breaker = new CircuitBreaker({ name: 'tuner' });
    registry.setDefaultLabels({ app: 'tv', id: 'mine' });
    await registry.getMetricsAsJSON();
    expect(lines(await registry.metrics(), 'circuit_breaker_state')[0]).toMatch(/\{id="tuner",app="tv"\} 0$/);
    registry.setDefaultLabels({});
    expect(lines(await registry.metrics(), 'circuit_breaker_state')).toEqual([
      'holdfast_circuit_breaker_state{id="tuner"} 0',
    ]);
  });

  test('a registry that resets its metrics still shows what is', async () => {
    const registry = new Client();
    using _metrics = instrument(registry);
    using _bucket = new TokenBucket({ capacity: 3, refillPerSecond: 1 });
    registry.resetMetrics();
    expect(lines(await registry.metrics(), 'token_bucket_available')).toEqual(['holdfast_token_bucket_available 3']);
  });

  test('the workers of a cluster are added up', async () => {
    const registry = new Client();
    using _metrics = instrument(registry);
    using _bucket = new TokenBucket({ capacity: 3, refillPerSecond: 1 });
    const worker = JSON.parse(JSON.stringify(await registry.getMetricsAsJSON()));
    const all = await Aggregator.aggregate([worker, worker]).metrics();
    expect(lines(all, 'token_bucket_available')).toEqual(['holdfast_token_bucket_available 6']);
    expect(lines(all, 'pool_acquisition_latency_seconds_count')).toEqual([
      'holdfast_pool_acquisition_latency_seconds_count 0',
    ]);
  });

  test('a hundred thousand keys that came and went leave no series', async () => {
    const registry = new Client();
    using _metrics = instrument(registry);
    for (let n = 0; n < 100_000; n++) new CircuitBreaker({ name: `key ${n}` })[Symbol.dispose]();
    for (let n = 0; n < 1_000; n++) new TokenBucket({ capacity: 1, refillPerSecond: 1 }).close();
    expect(lines(await registry.metrics(), 'circuit_breaker_state')).toEqual([]);
    expect(lines(await registry.metrics(), 'token_bucket_available')).toEqual(['holdfast_token_bucket_available 0']);
  });

  test('one that is disposed of shows and hears nothing, another of the same things goes on', async () => {
    const [registry, other] = [new Client(), new Client()];
    using _metrics = instrument(other);
    const mine = instrument(registry);
    using _seen = new CircuitBreaker({ name: 'seen by both' });
    mine[Symbol.dispose]();
    using _late = new CircuitBreaker({ name: 'late' });
    expect(await registry.getMetricsAsJSON()).toEqual([]);
    expect(lines(await other.metrics(), 'circuit_breaker_state')).toHaveLength(2);
  });

  test('what was made before is not seen, and its end disturbs nothing', async () => {
    const breaker = new CircuitBreaker({ name: 'early' });
    const hub = new FanoutHub({ name: 'early', source: () => new ReadableStream() as never });
    const registry = new Client();
    using _metrics = instrument(registry);
    breaker.recordFailure();
    breaker[Symbol.dispose]();
    await hub.close();
    expect(await registry.metrics()).not.toContain('early');
  });
});
