// A child whose whole tree ends with it, or with this process, however that ends.
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
const [line] = await Array.fromAsync(firstOf(child.stdout));
const grandchild = Number(/grandchild (\d+)/.exec(line ?? '')?.[1]);

// prints: the grandchild lives: true
console.log(`the grandchild lives: ${isAlive(grandchild)}`);

const exit = await child.terminate();

// prints: ended by SIGKILL, reason: terminated
console.log(`ended by ${exit.signal}, reason: ${exit.reason}`);
// prints: the grandchild lives: false
console.log(`the grandchild lives: ${isAlive(grandchild)}`);

async function* firstOf(stream: AsyncIterable<Buffer> | null): AsyncGenerator<string> {
  for await (const chunk of stream ?? []) {
    yield String(chunk);
    return;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
