// One of many that fight for a few sources. A second, independent kernel lock is the referee of double holding.
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import addon from 'fs-native-extensions';
import { SourceLock } from 'holdfast';

const [dir = '', sources = '4', lock = 'on'] = process.argv.slice(2);
const say = (what: string) => process.stdout.write(`${what}\n`);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function hold(name: string): Promise<void> {
  const referee = openSync(join(dir, `${name}.referee`), 'a+');
  const single = addon.tryLock(referee);
  say(single ? 'acquired' : `double ${name}`);
  await pause(Math.random() * 20);
  if (single) addon.unlock(referee);
  closeSync(referee);
}

for (;;) {
  const name = `tuner${Math.floor(Math.random() * Number(sources))}`;
  if (lock === 'off') {
    await hold(name);
    continue;
  }
  const answer = await SourceLock.tryAcquire(`hdhomerun:1234ABC2/${name}`, { dir, onWarning: () => say('reclaimed') });
  if (answer.acquired) {
    await hold(name);
    await answer.lock.release();
  } else say(answer.holder ? `refused ${answer.holder.pid}` : 'unnamed');
  await pause(Math.random() * 5);
}
