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

/**
 * clone3(2) with the pid of the child: that one, or an error, which is written. (After a write to ns_last_pid another
 * process may be the next to start, and keep the pid.)
 */
const CLONE_WITH_PID = `
  use Errno;
  my ($clone3, $sigchld, $pid) = (435, 17, pack("i", $ARGV[0]));
  my $args = pack("Q11", 0, 0, 0, 0, $sigchld, 0, 0, 0, unpack("Q", pack("p", $pid)), 1, 0);
  my $child = syscall($clone3, $args, length $args);
  if ($child < 0) { print grep { $!{$_} } keys %! }
  elsif ($child == 0) { close STDOUT; close STDERR; exec "sleep", "300" }
`;

/** A pid namespace for several programs. */
export interface PidNamespace {
  /** Starts a program in it. */
  readonly wrapper: readonly string[];
  /** Starts a process in it that has this pid; undefined where the kernel lets nobody choose. */
  occupy(pid: number): number | undefined;
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
    occupy(pid) {
      const why = String(inside(`perl -e '${CLONE_WITH_PID}' ${pid}`));
      if (why === 'ENOSYS' || why === 'EPERM') return undefined;
      if (why) throw new Error(`no stranger could get pid ${pid}: ${why}`);
      return pid;
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
