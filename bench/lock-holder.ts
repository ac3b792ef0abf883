// Holds a lock until it is killed; says so in a line.
import { openSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

const [kind = '', dir = '', source = ''] = process.argv.slice(2);

enableCompileCache(); // there is a new one for each round
if (kind === 'kernel' || kind === 'flock') {
  const { SourceLock } = await import('holdfast');
  await SourceLock.acquire(source, { dir, backend: kind });
} else if (kind === 'fs-native-extensions') {
  const { default: addon } = await import('fs-native-extensions');
  if (!addon.tryLock(openSync(join(dir, 'plain'), 'a+'))) throw new Error('it is not free');
} else {
  const { default: lockfile } = await import('proper-lockfile');
  await lockfile.lock(join(dir, source), { realpath: false });
}
console.log('held');
setInterval(() => {}, 60_000);
