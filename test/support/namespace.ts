import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cgroupPlace } from '../../src/managed-child/cgroup.ts';
import { eventually } from './eventually.ts';
import { childrenOf } from './processes.ts';

/** Starts a program in namespaces of its own, which a shell script prepares. */
function unshared(flags: readonly string[], script = ':'): string[] {
  return ['unshare', ...flags, 'sh', '-ec', `${script}\nexec "$0" "$@"`];
}

/** A pid namespace with a `/proc` of its own; the program is its pid 1, and all in it end with that. */
export const ownPids: readonly string[] = unshared(['--pid', '--fork', '--kill-child', '--mount-proc']);

/** Mounts of its own. */
export function withMounts(script: string): string[] {
  return unshared(['--mount'], script);
}

/** A pid namespace for several programs. */
export interface PidNamespace {
  /** Starts a program in it. */
  readonly wrapper: readonly string[];
  /** Starts a process in it that has this pid; undefined where the kernel lets nobody choose. */
  occupy(pid: number): Promise<number | undefined>;
  /** Ends all in it. */
  end(): Promise<void>;
}

export async function pidNamespace(): Promise<PidNamespace> {
  const [program = '', ...args] = [...ownPids, 'sleep', '300'];
  const outer = spawn(program, args, { stdio: 'ignore' });
  const exited = once(outer, 'exit');
  const init = await eventually(() => {
    const child = childrenOf(outer.pid as number).find(({ command }) => command.startsWith('sleep'));
    if (!child) throw new Error('the namespace has no process yet');
    return child.pid;
  });
  const wrapper = ['nsenter', '--target', String(init), '--pid', '--mount'];
  const inside = (script: string) => execFileSync(wrapper[0] as string, [...wrapper.slice(1), 'sh', '-ec', script]);
  return {
    wrapper,
    async occupy(pid) {
      const lastPid = '/proc/sys/kernel/ns_last_pid';
      if (String(inside(`[ -w ${lastPid} ] || echo no`)).startsWith('no')) return undefined;
      const script = `echo ${pid - 1} > ${lastPid}; sleep 300 > /dev/null 2>&1 & echo $!`;
      // Another process may start in between.
      return await eventually(() => {
        const got = Number(inside(script));
        if (got !== pid) throw new Error(`a stranger got pid ${got} instead of ${pid}`);
        return got;
      });
    },
    async end() {
      outer.kill('SIGKILL');
      await exited;
    },
  };
}

/** In CI they must be there, lest tests vanish. */
export function hasCgroups(): boolean {
  const place = cgroupPlace();
  if ('why' in place && process.env.CI) throw new Error(`no cgroup can be made in CI: ${place.why}`);
  if ('why' in place) console.warn(`skipped: ${place.why}`);
  return 'directory' in place;
}

/** Namespaces need root or a system that gives them to users; in CI they must be there, lest tests vanish. */
export function hasNamespaces(): boolean {
  try {
    execFileSync('unshare', ['--mount', '--pid', '--fork', '--mount-proc', 'true'], { stdio: 'pipe' });
    return process.getuid?.() === 0;
  } catch (error) {
    if (process.env.CI) throw new Error("namespaces can't be had in CI", { cause: error });
    console.warn(`skipped: no namespaces here (they need root): ${(error as Error).message}`);
    return false;
  }
}
