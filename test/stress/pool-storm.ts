// Everything that can go wrong with an acquire, at random, with real children.
import { setTimeout as pause } from 'node:timers/promises';
import { ManagedChild, type ProcessLease, ProcessPool, type SpawnContext } from 'holdfast';
import { childrenOf, killProcess } from '../support/processes.ts';
import { mulberry32 } from '../support/random.ts';

export interface PoolStorm {
  readonly acquires: number;
  readonly seed: number;
  readonly max?: number;
  /** How many are under way at a time. */
  readonly callers?: number;
}

export interface PoolStormResult {
  /** How often each came up. */
  readonly counts: Readonly<Record<string, number>>;
  /** Processes that were being started or lived at a time, at most. */
  readonly peak: number;
  /** What must not be. */
  readonly faults: readonly string[];
}

const SPAWN_TIMEOUT_MS = 60;
const retryable = Object.assign(new Error('passing'), { retryable: true });

export async function poolStorm({ acquires, seed, max = 8, callers = 40 }: PoolStorm): Promise<PoolStormResult> {
  const random = mulberry32(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const acquire = {
    spawnTimeoutMs: SPAWN_TIMEOUT_MS,
    timeoutMs: 20_000,
    maxAttempts: 3,
    backoffMs: () => random() * 5,
  };
  const pool = new ProcessPool({ max, acquire });
  const counts: Record<string, number> = {};
  const faults: string[] = [];
  let [taken, peak] = [0, 0];

  /** Seen from outside: from the call of spawn until it fails, or until all of the child is gone. */
  const counted =
    (spawn: Spawn): Spawn =>
    async (context) => {
      taken++;
      peak = Math.max(peak, taken);
      if (taken > max) faults.push(`${taken} processes at a time, ${max} allowed`);
      const { active, starting } = pool.stats();
      if (active + starting > max) faults.push(`${active} active and ${starting} starting, ${max} allowed`);
      try {
        const child = await spawn(context);
        child.closed.then(() => taken--);
        return child;
      } catch (error) {
        taken--;
        throw error;
      }
    };

  const run =
    (command: string, options = {}) =>
    (context: SpawnContext) =>
      ManagedChild.spawn('sh', ['-c', command], { signal: context.signal, graceMs: 50, ...options });
  const spawns: Record<string, () => Spawn> = {
    'ends at once': () => run('exit 0'),
    'ends by itself': () => run('sleep 0.01'),
    stays: () => run('sleep 60'),
    'ignores SIGTERM': () => run("trap '' TERM; sleep 60 & wait; sleep 60"),
    'has a grandchild': () => run('sleep 60 & wait'),
    'does not exist': () => (context) => ManagedChild.spawn('/nonexistent/program', [], { signal: context.signal }),
    'is not ready in time': () => run('sleep 60', { ready: { when: 'stdout', timeoutMs: 5 } }),
    'throws at once': () => () => {
      throw new Error('thrown');
    },
    'fails once and then works': () => {
      let calls = 0;
      return (context) => (calls++ === 0 ? Promise.reject(retryable) : run('sleep 60')(context));
    },
    'comes too late': () => async (context) => {
      await pause(SPAWN_TIMEOUT_MS * 1.5);
      return ManagedChild.spawn('sleep', ['60'], { graceMs: 50, name: String(context.attempt) });
    },
  };
  const uses: Record<string, (lease: ProcessLease) => Promise<unknown>> = {
    'is released': (lease) => lease.release(),
    'is released twice': (lease) => Promise.all([lease.release(), lease.release()]),
    'is killed': async (lease) => {
      killProcess(lease.child.pid);
      await lease.child.closed;
    },
    'is killed and released': async (lease) => {
      killProcess(lease.child.pid);
      await lease.release();
    },
    'is terminated behind the back of the pool': (lease) => lease.child.terminate(),
    'has an owner that throws': async (lease) => {
      await using _lease = lease;
      throw new Error('thrown by the owner');
    },
  };

  async function one(): Promise<void> {
    const how = pick(Object.keys(spawns));
    const use = pick(Object.keys(uses));
    const controller = new AbortController();
    const abortsAt = random() < 0.25 ? random() * 30 : undefined;
    const aborting = abortsAt === undefined ? undefined : setTimeout(() => controller.abort('left'), abortsAt);
    const key = random() < 0.1 ? pick(['a', 'b']) : undefined;
    const timeoutMs = random() < 0.1 ? random() * 50 : undefined;
    counts[how] = (counts[how] ?? 0) + 1;
    try {
      const spawn = counted((spawns[how] as () => Spawn)());
      const lease = await pool.acquire(spawn, {
        key,
        timeoutMs,
        signal: controller.signal,
        priority: Math.floor(random() * 3),
      });
      counts[use] = (counts[use] ?? 0) + 1;
      await pause(random() * 5);
      await (uses[use] as (lease: ProcessLease) => Promise<unknown>)(lease);
    } catch (error) {
      const name = error instanceof Error ? error.name : String(error);
      counts[name] = (counts[name] ?? 0) + 1;
    } finally {
      clearTimeout(aborting);
    }
  }

  let left = acquires;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (left-- > 0) await one();
    }),
  );
  await pool.drain({ timeoutMs: 10_000 });
  const { max: _, ...stats } = pool.stats();
  const rest = { ...stats, taken };
  for (const [what, count] of Object.entries(rest)) if (count !== 0) faults.push(`${count} ${what} at the end`);
  for (const { pid, command } of childrenOf(process.pid)) {
    if (!command.includes('holdfast-guard')) faults.push(`process ${pid} is left: ${command}`);
  }
  await pool.close();
  return { counts, peak, faults };
}

type Spawn = (context: SpawnContext) => Promise<ManagedChild>;
