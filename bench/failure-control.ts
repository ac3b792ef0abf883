// What breaker, bucket and pool cost beside their peers, interleaved in one run: npm run bench:control
import { circuitBreaker, handleAll, SamplingBreaker } from 'cockatiel';
import { createPool } from 'generic-pool';
import { CircuitBreaker, ProcessPool, TokenBucket } from 'holdfast';
import { TokenBucket as LimiterBucket } from 'limiter';
import Opossum from 'opossum';
import { Pool as Tarn } from 'tarn';
import { compare, ofFirst, report } from './compare.ts';

/** So short a call is timed a thousand at a time. */
const MANY = 1_000;

async function many(call: () => unknown): Promise<void> {
  for (let n = 0; n < MANY; n++) await call();
}

function manyInOneTurn(call: () => unknown): void {
  for (let n = 0; n < MANY; n++) call();
}

const work = async () => 1;

const ours = new CircuitBreaker({ name: 'bench' });
const oursByRate = new CircuitBreaker({ name: 'bench', failureRate: 0.5 });
const cockatiel = circuitBreaker(handleAll, {
  halfOpenAfter: 120_000,
  breaker: new SamplingBreaker({ threshold: 0.5, duration: 300_000 }),
});
const opossum = new Opossum(work, { timeout: false, rollingCountTimeout: 300_000, rollingCountBuckets: 60 });
await compare({
  title: '1,000 calls through a closed circuit',
  calls: 50,
  candidates: [
    { name: 'CircuitBreaker', run: () => many(() => ours.run(work)) },
    { name: 'CircuitBreaker with a failure rate', run: () => many(() => oursByRate.run(work)) },
    { name: 'bare await', run: () => many(work) },
    { name: 'cockatiel, sampling', run: () => many(() => cockatiel.execute(work)) },
    { name: 'opossum', run: () => many(() => opossum.fire()) },
  ],
});
opossum.shutdown();

const rate = { capacity: Number.MAX_SAFE_INTEGER, refillPerSecond: 1_000_000 };
const bucket = new TokenBucket(rate);
const limiter = new LimiterBucket({
  bucketSize: rate.capacity,
  tokensPerInterval: rate.refillPerSecond,
  interval: 'second',
});
limiter.content = rate.capacity;
await compare({
  title: '1,000 tokens without waiting',
  calls: 200,
  candidates: [
    { name: 'TokenBucket.tryTake', run: () => manyInOneTurn(() => bucket.tryTake()) },
    { name: 'limiter, tryRemoveTokens', run: () => manyInOneTurn(() => limiter.tryRemoveTokens(1)) },
  ],
});

/** A child that is there at once: what is left is the pool. */
class Instant implements AsyncDisposable {
  readonly #closed = Promise.withResolvers<{ reason: string }>();
  readonly closed = this.#closed.promise;

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.resolve({ reason: 'terminated' });
  }
}

const create = async () => new Instant();
const pool = new ProcessPool({ max: 8 });
// They keep what was released; a child is never used twice, so each is made anew with them too.
const generic = createPool({ create, destroy: (child) => child[Symbol.asyncDispose]() }, { max: 8 });
const tarn = new Tarn({ create, destroy: (child: Instant) => child[Symbol.asyncDispose](), min: 0, max: 8 });
await compare({
  title: '1,000 times acquire and release of an idle slot',
  calls: 20,
  candidates: [
    { name: 'ProcessPool', run: () => many(async () => (await pool.acquire(create)).release()) },
    {
      name: 'generic-pool, which keeps the child',
      run: () => many(async () => generic.release(await generic.acquire())),
    },
    {
      name: 'generic-pool, a new child each time',
      run: () => many(async () => generic.destroy(await generic.acquire())),
    },
    {
      name: 'tarn, which keeps the child',
      run: () => many(async () => tarn.release(await tarn.acquire().promise)),
    },
  ],
});
await Promise.all([pool.close(), generic.drain().then(() => generic.clear()), tarn.destroy()]);

/** Microseconds from one grant to the next while so many wait. */
async function grantCost(waiters: number): Promise<number> {
  const slots = new ProcessPool({ max: 1, maxWaiters: waiters });
  const first = await slots.acquire(create);
  const all = Array.from({ length: waiters }, () => slots.acquire(create, { timeoutMs: Number.POSITIVE_INFINITY }));
  const before = performance.now();
  await first.release();
  for (const waiting of all.slice(0, MANY)) await (await waiting).release();
  const each = ((performance.now() - before) * 1_000) / MANY;
  for (const waiting of all) waiting.catch(() => {});
  await slots.close();
  return each;
}

const counts = [1_000, 10_000, 100_000];
const samples = new Map<string, number[]>(counts.map((count) => [`${count} waiters`, []]));
for (let round = 0; round < 5; round++) {
  for (const count of counts) samples.get(`${count} waiters`)?.push(await grantCost(count));
}
report({ title: 'From one grant to the next', unit: 'µs', samples, relation: ofFirst });
