// One process at a time reads a source. Whoever is refused is told who has it.
import { SourceBusyError, SourceLock, sourceKey } from 'holdfast';

const tuner = 'http://joe:secret@192.168.1.20:5004/auto/v5.1';

// prints: url:http://192.168.1.20:5004/auto/v5.1
console.log(sourceKey(tuner));

const lock = await SourceLock.acquire(tuner, { command: 'the first reader' });

try {
  await SourceLock.acquire('HTTP://192.168.1.20:5004/auto/v5.1');
} catch (error) {
  if (!(error instanceof SourceBusyError)) throw error;
  // prints: refused: held by the first reader (pid …
  console.log(`refused: held by ${error.holder?.command} (pid ${error.holder?.pid} since ${error.holder?.startedAt})`);
}

// Who waits is served when the holder lets go.
const waiting = SourceLock.acquire(tuner, { timeoutMs: 5_000 });
await lock.release();
const next = await waiting;

// prints: the fence grows: true
console.log(`the fence grows: ${next.fence > lock.fence}`);
await next.release();
