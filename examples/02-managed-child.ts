// A child whose whole tree ends with it, or with this process, however that ends.
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { ManagedChild } from 'holdfast';

// A shell that starts a grandchild and ignores SIGTERM, as some programs do.
const stubborn = `
  trap '' TERM
  sleep 300 &
  echo "grandchild $!"
  while :; do sleep 0.1; done
`;

const child = await ManagedChild.spawn('sh', ['-c', stubborn], {
  graceMs: 200,
  ready: { when: 'stdout', timeoutMs: 5_000 },
});
const [line] = await once(child.stdout as Readable, 'data');
const grandchild = Number(/grandchild (\d+)/.exec(String(line))?.[1]);

// prints: the grandchild lives: true
console.log(`the grandchild lives: ${isAlive(grandchild)}`);

const exit = await child.terminate();

// prints: ended by SIGKILL, reason: terminated
console.log(`ended by ${exit.signal}, reason: ${exit.reason}`);
// prints: the grandchild lives: false
console.log(`the grandchild lives: ${isAlive(grandchild)}`);

/** Whether a process runs; one that has ended and waits to be reaped does not. */
function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}
