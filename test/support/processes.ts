import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const repository = new URL('../../', import.meta.url);

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** Whether the process runs; a zombie does not. */
export function isRunning(pid: number): boolean {
  const state = readProc(pid, 'stat').replace(/^.*\) /s, '')[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

export function allPids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** Other processes with this `NAME=value` in their environment. */
export function processesWithMark(mark: string): { pid: number; command: string }[] {
  return allPids()
    .filter((pid) => pid !== process.pid && readProc(pid, 'environ').split('\0').includes(mark) && isRunning(pid))
    .map((pid) => ({ pid, command: readProc(pid, 'cmdline').replaceAll('\0', ' ').slice(0, 200) }));
}

/** The children of a process, zombies left out. */
export function childrenOf(parent: number): { pid: number; command: string }[] {
  return allPids()
    .filter(
      (pid) =>
        readProc(pid, 'stat')
          .replace(/^.*\) /s, '')
          .split(' ')[1] === String(parent) && isRunning(pid),
    )
    .map((pid) => ({ pid, command: readProc(pid, 'cmdline').replaceAll('\0', ' ') }));
}

export function openDescriptors(pid: number | 'self' = 'self'): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** A program of test/fixtures that runs as a process of its own, and says one line of JSON at a time. */
export interface Fixture {
  readonly process: ChildProcess;
  readonly pid: number;
  /** The next line it says. */
  // biome-ignore lint/suspicious/noExplicitAny: each fixture says what its test expects
  next(): Promise<any>;
  /** Ends it and waits for its exit. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  stderr(): string;
}

export function startFixture(name: string, args: readonly unknown[] = [], env: NodeJS.ProcessEnv = {}): Fixture {
  const program = new URL(`test/fixtures/${name}.ts`, repository).pathname;
  const hook = new URL('scripts/from-source.mjs', repository).pathname;
  const child = spawn(
    process.execPath,
    ['--import', hook, program, ...args.map((arg) => JSON.stringify(arg ?? null))],
    {
      cwd: repository,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    process: child,
    pid: child.pid as number,
    async next() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the fixture ${name} ended: ${stderr}`);
      return JSON.parse(value);
    },
    async kill(signal = 'SIGKILL') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    },
    stderr: () => stderr,
  };
}
