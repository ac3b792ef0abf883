// A bounded number of children. A slot is free when all of its child's tree is gone, and never twice.
import { ManagedChild, minFreeFds, ProcessPool, TokenBucket } from 'holdfast';

const pool = new ProcessPool({
  max: 2,
  spawnRate: new TokenBucket({ capacity: 10, refillPerSecond: 10 }),
  admission: [minFreeFds(50)],
});

let started = 0;
const sleeper = ({ signal }: { signal: AbortSignal }) => {
  started += 1;
  return ManagedChild.spawn('sleep', ['300'], { signal, graceMs: 100 });
};

const [one, two] = await Promise.all([pool.acquire(sleeper), pool.acquire(sleeper)]);
const third = pool.acquire(sleeper, { timeoutMs: 5_000 });
// prints: active 2, waiting 1
console.log(`active ${pool.stats().active}, waiting ${pool.stats().waiting}`);

await one.release();
await one.release(); // as often as you like
const { attempts, child } = await third;
// prints: the third came after 1 attempt, active 2
console.log(`the third came after ${attempts} attempt, active ${pool.stats().active}`);

// A child that ends by itself gives its slot back as well.
process.kill(child.pid, 'SIGKILL');
await child.closed;
await two.release();

// Those who want the same at the same time share one child.
const [news, same] = await Promise.all([1, 2].map(() => pool.acquire(sleeper, { key: 'news' })));
// prints: one child for both: true, of 4 that were started
console.log(`one child for both: ${news === same}, of ${started} that were started`);

await pool.close();
// prints: active 0
console.log(`active ${pool.stats().active}`);
