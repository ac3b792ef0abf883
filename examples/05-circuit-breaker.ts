// What does not work at the moment is left alone for a while: nobody waits for it, and it is not made worse.
import { setTimeout } from 'node:timers/promises';
import { CircuitBreaker, CircuitOpenError } from 'holdfast';

let isUp = false;
let requests = 0;

/** Stands for a device that refuses everything while it starts. */
async function readLineup(): Promise<string> {
  requests += 1;
  if (!isUp) throw new Error('connection refused');
  return '5.1 News';
}

const device = new CircuitBreaker({ name: 'device', failureThreshold: 3, cooldownMs: 100 });
device.on('transition', (from, to, cause) => console.log(`${from} to ${to}: ${cause}`));

for (let n = 0; n < 10; n += 1) {
  try {
    await device.run(() => readLineup());
  } catch (error) {
    if (error instanceof CircuitOpenError) break;
  }
}
// prints: closed to open: failures
// prints: the device was asked 3 times
console.log(`the device was asked ${requests} times`);

// Another process goes on where this one is.
const later = CircuitBreaker.restore(device.snapshot(), { name: 'device', failureThreshold: 3, cooldownMs: 100 });
// prints: after a restart it is open
console.log(`after a restart it is ${later.state}`);

isUp = true;
await setTimeout(device.retryAfterMs + 5);
// prints: open to half-open: cooldown-over
// prints: half-open to closed: probes-succeeded
// prints: the probe gets 5.1 News, and it is closed
const lineup = await device.run(() => readLineup());
console.log(`the probe gets ${lineup}, and it is ${device.state}`);
