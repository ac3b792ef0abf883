// A rate with bursts: so many at once, then one after the other, in order.
import { AcquireTimeoutError, TokenBucket } from 'holdfast';

using scans = new TokenBucket({ capacity: 3, refillPerSecond: 2 });

const begun = performance.now();
const take = async () => ({ waitedMs: await scans.take(), atMs: performance.now() - begun });
const taken = await Promise.all([take(), take(), take(), take(), take()]);
const atOnce = taken.filter(({ waitedMs }) => waitedMs === 0).length;
const [fourth = 0, fifth = 0] = taken.slice(3).map(({ atMs }) => atMs);
// prints: at once: 3, after 500 and 1000 ms: true
console.log(`at once: ${atOnce}, after 500 and 1000 ms: ${fourth >= 499 && fifth >= 999}`);

// prints: without waiting: false
console.log(`without waiting: ${scans.tryTake()}`);

// What can't be had in time is refused at once, not at the end of that time.
try {
  await scans.take(3, { timeoutMs: 100 });
} catch (error) {
  // prints: refused at once: true
  console.log(`refused at once: ${error instanceof AcquireTimeoutError}`);
}

// A reservation that is not used gives back what it had.
const reservation = scans.reserve(2);
reservation.cancel();
// prints: the next waits for 1 token: true
console.log(`the next waits for 1 token: ${scans.reserve().delayMs <= 500}`);
