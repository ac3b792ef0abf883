// A rate with bursts: so many at once, then one after the other, in order.
import { AcquireTimeoutError, TokenBucket } from 'holdfast';

using scans = new TokenBucket({ capacity: 3, refillPerSecond: 2 });

const waits = await Promise.all([1, 2, 3, 4, 5].map(() => scans.take()));
const [fourth = 0, fifth = 0] = waits.slice(3); // 500 and 1,000 ms
// prints: at once: 3, the others in turn: true
console.log(`at once: ${waits.filter((ms) => ms === 0).length}, the others in turn: ${fourth > 0 && fifth > fourth}`);

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
