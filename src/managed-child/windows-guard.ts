import { PROGRAM_HEAD } from './node-program.ts';

/** What the guard works with: its own process, a timer, and a way to run a program to its end. */
export interface GuardTools {
  readonly process: Pick<NodeJS.Process, 'stdin' | 'exit'>;
  after(ms: number, callback: () => void): Disposable;
  run(command: string, args: readonly string[]): void;
}

/**
 * The guard where there is no shell: it kills every tree when its standard input ends, or its lease does, by `taskkill`.
 * There is no request to end, so no grace either. The lines are those of {@link GUARD_SCRIPT}; START is 0.
 *
 * Self-contained, without any outer name: Node runs its text.
 */
export function guardTrees({ process, after, run }: GuardTools, known: readonly string[]): void {
  const { stdin } = process;
  const pids = new Set<string>();
  const leases = new Map<string, Disposable>();
  const kill = (pid: string) => run('taskkill', ['/PID', pid, '/T', '/F']);
  const drop = (pid: string) => {
    leases.get(pid)?.[Symbol.dispose]();
    leases.delete(pid);
  };
  const obey = ([verb, group = '', ms]: readonly string[]) => {
    const pid = group.split(':')[0] as string;
    if (verb === '+') pids.add(pid);
    if (verb === '-') pids.delete(pid);
    if (verb === '-' || verb === 'L' || verb === 'l') drop(pid);
    if (verb !== 'l') return;
    leases.set(
      pid,
      after(Number(ms), () => kill(pid)),
    );
  };
  for (const line of known) obey(line.split(' '));
  let rest = '';
  stdin.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) obey(line.split(' '));
  });
  stdin.on('close', () => {
    for (const pid of pids) kill(pid);
    process.exit(0);
  });
}

/** The program, as `node -e` takes it. */
export const WINDOWS_GUARD: string = `${PROGRAM_HEAD}
const { spawnSync } = require('node:child_process');
const run = (command, args) => spawnSync(command, args, { windowsHide: true });
(${guardTrees})({ process, after, run }, process.argv.slice(1));
`;
