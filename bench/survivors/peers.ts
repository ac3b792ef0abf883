import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** What every peer is asked to start. Nothing of it is a pipe, so that an owner can end normally while it runs. */
interface Request {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly stdout?: 'ignore' | number;
  /** The end that the peer is asked for while its owner lives on. */
  readonly signal?: AbortSignal;
}

export interface Child {
  readonly pid: number;
  /** The process itself has ended. */
  readonly exited: Promise<unknown>;
  /** The peer is done with it, as far as the peer knows. */
  readonly closed: Promise<unknown>;
  unref(): unknown;
}

/** Each as its documentation advises; its module is loaded by `load`, ahead of what is timed. */
export interface Peer {
  readonly load: () => Promise<(request: Request) => Promise<Child> | Child>;
}

/** A request to end and its grace, for those that know one. */
const GRACE_MS = 200;

export const peers: Readonly<Record<string, Peer>> = {
  // nodejs.org/api/child_process.html: `signal` aborts it with `killSignal`; `unref()` with stdio that is not connected
  // lets the owner end.
  child_process: {
    async load() {
      const { spawn } = await import('node:child_process');
      return ({ command, args, env = process.env, stdout = 'ignore', signal }) => {
        const abort = signal ? { signal, killSignal: 'SIGKILL' as const } : {};
        return watched(spawn(command, args, { ...abort, env, stdio: ['ignore', stdout, 'ignore'] }));
      };
    },
  },
  // Its defaults, `cleanup: true` among them, and `cancelSignal` with `forceKillAfterDelay`, as termination.md has them.
  execa: { load: () => loadExeca({}) },
  // What its termination.md offers for trees, off by default.
  'execa, killDescendants': { load: () => loadExeca({ killDescendants: true }) },
  // Its README has no more than the call; the handlers around it are what its users write.
  'tree-kill': {
    async load() {
      const { spawn } = await import('node:child_process');
      const { default: treeKill } = await import('tree-kill');
      const running = new Set<number>();
      const killAll = () =>
        Promise.all([...running].map((pid) => new Promise((done) => treeKill(pid, 'SIGKILL', done))));
      process.on('exit', killAll);
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
        process.on(signal, async () => {
          await killAll();
          process.exit(1);
        });
      }
      return ({ command, args, env = process.env, stdout = 'ignore', signal }) => {
        const child = spawn(command, args, { env, stdio: ['ignore', stdout, 'ignore'] });
        const pid = child.pid as number;
        const end = () => treeKill(pid, 'SIGKILL');
        running.add(pid);
        signal?.addEventListener('abort', end);
        child.once('exit', () => {
          running.delete(pid);
          signal?.removeEventListener('abort', end);
        });
        return watched(child);
      };
    },
  },
  holdfast: { load: () => loadHoldfast('group') },
  'holdfast + cgroup': { load: () => loadHoldfast('cgroup') },
};

async function loadExeca(options: { killDescendants?: boolean }): ReturnType<Peer['load']> {
  const { execa } = await import('execa');
  return ({ command, args, env = process.env, stdout = 'ignore', signal }) => {
    const cancel = signal ? { cancelSignal: signal } : {};
    const known = stdout as 'ignore' | 3; // its types know few descriptors
    const running = execa(command, args, {
      ...options,
      ...cancel,
      env,
      stdio: ['ignore', known, 'ignore'],
      forceKillAfterDelay: GRACE_MS,
    });
    const settled = running.catch(() => {}); // it rejects if it is cancelled
    return { ...watched(running.nodeChildProcess), closed: settled };
  };
}

async function loadHoldfast(containment: 'group' | 'cgroup'): ReturnType<Peer['load']> {
  const { ManagedChild } = await import('holdfast');
  return ({ command, args, env, stdout = 'ignore', signal }) =>
    ManagedChild.spawn(command, args, { containment, stdout, stderr: 'ignore', graceMs: GRACE_MS, signal, env });
}

/** The peers that can be run here. */
export async function peersHere(): Promise<string[]> {
  const start = await loadHoldfast('cgroup');
  const hasCgroups = await Promise.resolve(start({ command: 'true', args: [] })).then(
    ({ closed }) => closed.then(() => true),
    () => false,
  );
  return Object.keys(peers).filter((name) => hasCgroups || name !== 'holdfast + cgroup');
}

function watched(child: ChildProcess): Child {
  child.on('error', () => {}); // so it tells that it was aborted
  return {
    pid: child.pid as number,
    exited: once(child, 'exit').catch(() => {}),
    closed: new Promise((resolve) => child.once('close', resolve)),
    unref: () => child.unref(),
  };
}

export function isOurs(peer: string): boolean {
  return peer.startsWith('holdfast');
}
