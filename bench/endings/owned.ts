import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { hostNow } from '../../src/internal/time.ts';
import { guardsOf, isRunning } from '../../test/support/processes.ts';
import type { Cells } from '../survivors/cells.ts';
import type { Commands } from './owner.ts';

/** An owner of children, in a cell of its own. */
export interface Owned extends AsyncDisposable {
  readonly pid: number;
  tell<Name extends keyof Commands>(
    name: Name,
    ...parameter: Parameters<Commands[Name]>
  ): Promise<Awaited<ReturnType<Commands[Name]>>>;
  /** Milliseconds from its SIGKILL until none of these runs; `Infinity` if one still does after 2 s. */
  kill(pids: readonly number[]): number;
  /** Milliseconds from the end of so many leases, while it is stopped, until none of the children runs. */
  expire(count: number): Promise<number>;
  guards(): number[];
}

const LIMIT_MS = 2_000;

/** Long enough for what is told of the leases to be read. */
const LEASE_MS = 2_000;

export function own(cells: Cells, peer: string): Owned {
  const cell = cells.add();
  const owner = cell.spawnProgram(new URL('owner.ts', import.meta.url), [peer]);
  const lines = createInterface(owner.stdout)[Symbol.asyncIterator]();
  let complaint = '';
  owner.stderr.on('data', (chunk) => {
    complaint += chunk;
  });
  const closed = once(owner, 'close');
  const pid = owner.pid as number;
  const owned: Owned = {
    pid,
    async tell(...command) {
      owner.stdin.write(`${JSON.stringify(command)}\n`);
      const { value, done } = await lines.next();
      if (done) {
        const [code, signal] = await closed;
        throw new Error(`the owner of ${peer} ended by ${signal ?? code}: ${complaint}`);
      }
      return JSON.parse(value);
    },
    kill(pids) {
      const before = performance.now();
      owner.kill('SIGKILL');
      return untilGone(pids, before);
    },
    async expire(count) {
      const { pids, deadline } = await owned.tell('lease', { count, leaseMs: LEASE_MS });
      owner.kill('SIGSTOP');
      return untilGone(pids, deadline - hostNow() + performance.now());
    },
    guards: () => guardsOf(pid),
    async [Symbol.asyncDispose]() {
      await cell[Symbol.asyncDispose]();
      await closed;
    },
  };
  return owned;
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/** Looks every half millisecond, and does nothing else meanwhile. */
function untilGone(pids: readonly number[], before: number): number {
  for (const pid of pids) {
    while (isRunning(pid)) {
      if (performance.now() - before > LIMIT_MS) return Number.POSITIVE_INFINITY;
      Atomics.wait(pause, 0, 0, 0.5);
    }
  }
  return performance.now() - before;
}
