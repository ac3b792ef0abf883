// Waits for a lock that another holds, or idles; tells what that cost.
import { readFileSync } from 'node:fs';
import { SourceLock } from 'holdfast';

const [dir = '', backend = '', milliseconds = ''] = process.argv.slice(2);
const timeoutMs = Number(milliseconds);

/** CPU time of this process and of its children that have ended, in ms. */
function used(): number {
  const { user, system } = process.cpuUsage();
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const [childrenUser, childrenSystem] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(13, 15);
  const MS_PER_TICK = 10;
  return (user + system) / 1000 + (Number(childrenUser) + Number(childrenSystem)) * MS_PER_TICK;
}

const options = { dir, backend: backend as 'kernel' | 'flock' };
if (backend !== 'idle') await (await SourceLock.acquire('hdhomerun:1234ABC2/free', options)).release();

const before = used();
if (backend === 'idle') await new Promise((resolve) => setTimeout(resolve, timeoutMs));
else {
  const { acquired } = await SourceLock.tryAcquire('hdhomerun:1234ABC2/held', { ...options, timeoutMs });
  if (acquired) throw new Error('the lock was not held');
}
console.log(used() - before);
