import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { eventually } from './eventually.ts';
import { patienceMs } from './promised.ts';

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

function allPids(): number[] {
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

/** The guards of an owner; there is one, but for a moment. */
export function guardsOf(owner: number): number[] {
  return childrenOf(owner)
    .filter(({ command }) => command.includes('holdfast-guard'))
    .map(({ pid }) => pid);
}

export function guardOf(owner: number): number {
  const [guard] = guardsOf(owner);
  if (guard === undefined) throw new Error(`process ${owner} has no guard`);
  return guard;
}

export function openDescriptors(pid: number | 'self' = 'self'): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** A program that runs as a process of its own, with `holdfast` from src. */
export interface Program {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Its exit code, or the signal that ended it. */
  readonly exit: Promise<number | NodeJS.Signals>;
  /** All it wrote so far. */
  output(): string;
  /** The same, once it matches. A start may take its time, which is no promise of anybody. */
  says(pattern: RegExp): Promise<string>;
  /** Ends it and waits for its exit. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * Runs a file, or a text as a module. With `TEST_DESCRIPTORS` in its environment it may open no more than so many; with
 * `TEST_OBEYS_MODES` the modes of files bind it even if it is root's; with `TEST_NETWORK_OF` it has the network of that pid.
 */
export function startProgram(program: string, env: NodeJS.ProcessEnv = {}, args: readonly string[] = []): Program {
  const hook = new URL('scripts/from-source.mjs', repository).pathname;
  const what = program.includes('\n') ? ['--input-type=module-typescript', '-e', program] : [program];
  const limit = env.TEST_DESCRIPTORS ? `ulimit -n ${env.TEST_DESCRIPTORS}; ` : '';
  const isRoot = process.getuid?.() === 0;
  const bound = env.TEST_OBEYS_MODES && isRoot ? 'setpriv --bounding-set=-dac_override ' : '';
  const network = env.TEST_NETWORK_OF ? `nsenter --target ${env.TEST_NETWORK_OF} --net ` : '';
  const child = spawn(
    'sh',
    ['-c', `${limit}exec ${network}${bound}"$0" "$@"`, process.execPath, '--import', hook, ...what, ...args],
    {
      cwd: repository,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  const exit = once(child, 'exit').then(([code, signal]) => code ?? signal);
  return {
    process: child,
    pid: child.pid as number,
    exit,
    output: () => output,
    says: (pattern) =>
      eventually(() => {
        if (!pattern.test(output)) throw new Error(`it has not said ${pattern}: ${JSON.stringify(output)}`);
        return output;
      }, patienceMs(30_000)),
    async kill(signal = 'SIGKILL') {
      child.kill(signal);
      await exit;
    },
  };
}

/** A program of test/fixtures, which says one line of JSON at a time. */
export interface Fixture extends Program {
  /** The next line it says. */
  // biome-ignore lint/suspicious/noExplicitAny: each fixture says what its test expects
  next(): Promise<any>;
}

const asJson = (args: readonly unknown[]) => args.map((arg) => JSON.stringify(arg ?? null));

/** The arguments that make Node run a fixture. */
export function fixtureArguments(name: string, args: readonly unknown[] = []): string[] {
  const [hook, program] = ['scripts/from-source.mjs', `test/fixtures/${name}.ts`].map(
    (path) => new URL(path, repository),
  );
  return ['--import', hook?.pathname as string, program?.pathname as string, ...asJson(args)];
}

/** The lock files that a process has open. */
export function locksOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder)
    .map((descriptor) => readlinkSync(`${folder}/${descriptor}`))
    .filter((path) => path.endsWith('.lock'))
    .sort();
}

export function startFixture(name: string, args: readonly unknown[] = [], env: NodeJS.ProcessEnv = {}): Fixture {
  const path = new URL(`test/fixtures/${name}.ts`, repository).pathname;
  const program = startProgram(path, env, asJson(args));
  const lines = createInterface(program.process.stdout as Readable)[Symbol.asyncIterator]();
  return {
    ...program,
    async next() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the fixture ${name} ended: ${program.output()}`);
      return JSON.parse(value);
    },
  };
}

/** That it has ended by itself is as well. */
export function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it is gone
  }
}

/** An owner dies together with its guard; its children live on. */
export async function abandon(owner: { readonly pid: number; kill(signal: NodeJS.Signals): unknown }): Promise<void> {
  owner.kill('SIGSTOP'); // lest it starts another guard in between
  process.kill(guardOf(owner.pid), 'SIGKILL');
  await owner.kill('SIGKILL');
}

export async function endProcess(pid: number): Promise<void> {
  killProcess(pid);
  await eventually(() => {
    if (isRunning(pid)) throw new Error(`${pid} was killed and still runs`);
  });
}
