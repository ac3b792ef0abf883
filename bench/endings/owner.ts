// Owns children of a peer, does what it is told in lines of JSON and answers in the same.
import { openSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { hostNow } from '../../src/internal/time.ts';
import { median } from '../compare.ts';
import { treeEnvironment } from '../survivors/cells.ts';
import { type Child, type Peer, peers } from '../survivors/peers.ts';

const loaded = new Map<string, ReturnType<Peer['load']>>();
const start = await load(process.argv[2] ?? '');
const abort = new AbortController();
let children: Child[] = [];

/** Once each, for some add handlers. */
function load(peer: string): ReturnType<Peer['load']> {
  const running = loaded.get(peer) ?? peers[peer]?.load();
  if (!running) throw new Error(`no peer ${peer}`);
  loaded.set(peer, running);
  return running;
}

/** Ours alone: the peers have no leases. */
async function startLeased(count: number, leaseMs: number): Promise<{ pids: number[]; deadline: number }> {
  const { ManagedChild } = await import('holdfast');
  const containment = process.argv[2] === 'holdfast' ? 'group' : 'cgroup';
  const renewals = new Set<(deadline: number) => void>();
  const lease = {
    deadline: Number.POSITIVE_INFINITY,
    signal: abort.signal,
    onRenew(listener: (deadline: number) => void): Disposable {
      renewals.add(listener);
      return { [Symbol.dispose]: () => renewals.delete(listener) };
    },
  };
  const options = { lease, containment, stdout: 'ignore', stderr: 'ignore' } as const;
  const pids: number[] = [];
  while (pids.length < count) pids.push((await ManagedChild.spawn('sleep', ['60'], options)).pid);
  lease.deadline = performance.now() + leaseMs;
  for (const renew of renewals) renew(lease.deadline);
  return { pids, deadline: lease.deadline + hostNow() - performance.now() };
}

/** What it can be told; its parameter and what it answers. */
const commands = {
  /** Their pids. */
  async start({ count, script, output }: { count: number; script: string; output?: string }): Promise<number[]> {
    const stdout = output ? openSync(output, 'a') : 'ignore';
    const env = { ...process.env, ...treeEnvironment };
    const request = { command: 'sh', args: ['-c', script], env, stdout, signal: abort.signal } as const;
    children = await Promise.all(Array.from({ length: count }, () => start(request)));
    return children.map(({ pid }) => pid);
  },

  /** Children whose leases end at once, and when, as a time of all processes. */
  lease({ count, leaseMs }: { count: number; leaseMs: number }): Promise<{ pids: number[]; deadline: number }> {
    return startLeased(count, leaseMs);
  },

  /** From the abort until all are closed, and the CPU time of this process meanwhile. */
  async abort(): Promise<{ ms: number; cpuMs: number }> {
    const before = performance.now();
    const cpu = process.cpuUsage();
    abort.abort();
    await Promise.all(children.map(({ closed }) => closed));
    const { user, system } = process.cpuUsage(cpu);
    return { ms: performance.now() - before, cpuMs: (user + system) / 1000 };
  },

  /** Of any peer, one after the other; medians of the times since the call. */
  async times({
    peer,
    calls,
  }: {
    peer: string;
    calls: number;
  }): Promise<{ started: number; exited: number; closed: number }> {
    const start = await load(peer);
    const samples = { started: [] as number[], exited: [] as number[], closed: [] as number[] };
    for (let call = 0; call < calls; call++) {
      const before = performance.now();
      const child = await start({ command: 'true', args: [] });
      samples.started.push(performance.now() - before);
      await Promise.all([
        child.exited.then(() => samples.exited.push(performance.now() - before)),
        child.closed.then(() => samples.closed.push(performance.now() - before)),
      ]);
    }
    return { started: median(samples.started), exited: median(samples.exited), closed: median(samples.closed) };
  },

  /** So many children, few at a time; the descriptors that are open then. */
  async rounds({ count, atOnce }: { count: number; atOnce: number }): Promise<number> {
    let left = count;
    const work = async () => {
      while (left-- > 0) await (await start({ command: 'true', args: [] })).closed;
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    return readdirSync('/proc/self/fd').length;
  },
};

export type Commands = typeof commands;

for await (const line of createInterface(process.stdin)) {
  const [name, parameter] = JSON.parse(line) as [keyof Commands, never];
  console.log(JSON.stringify(await commands[name](parameter)));
}
process.exit(1); // the bench is gone
