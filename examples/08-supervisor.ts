// What fails is started again, but never in a storm: each refusal says which guard it was, and for how long.
import { setTimeout } from 'node:timers/promises';
import { ManagedChild, RestartRefusedError, Supervisor } from 'holdfast';

const supervisor = new Supervisor({
  cooldownMs: 200, // between two restarts of one service
  intensity: 4, // restarts of all services within
  periodMs: 10_000,
  backoff: { minMs: 20, maxMs: 100, jitter: 'none' },
});

// A service that always runs: its third run works.
const ready = new Promise<void>((resolve) => {
  supervisor.start('push', async (service) => {
    const isBroken = service.attempt < 3;
    const command = isBroken ? 'exit 1' : 'sleep 300';
    await using child = await ManagedChild.spawn('sh', ['-c', command], { signal: service.signal, graceMs: 100 });
    if (!isBroken) {
      service.ready();
      resolve();
    }
    await child.exited;
  });
});
supervisor.on('refused', (id, { why }) => console.log(`${id} waits: ${why}`));
await ready;
// prints: push waits: backoff
// prints: push waits: cooldown
// prints: push is running after 2 restarts
const [push] = supervisor.status();
console.log(`${push?.id} is ${push?.state} after ${push?.restarts} restarts`);

// A source that is opened on demand, by the same rules.
const open = () => ManagedChild.spawn('sh', ['-c', 'sleep 0.05; exit 1'], { graceMs: 100 });
for (;;) {
  try {
    await (await supervisor.attempt('news', open)).closed;
  } catch (error) {
    if (!(error instanceof RestartRefusedError)) throw error;
    // prints: news waits: backoff
    // prints: news waits: cooldown
    if (error.why === 'cooldown') break;
    await setTimeout(error.retryAfterMs + 5); // a timer of Node may be a little early
  }
}

await supervisor.close();
// prints: services left: 0
console.log(`services left: ${supervisor.status().length}`);
