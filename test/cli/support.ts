import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { onTestFinished } from 'vitest';

const repository = new URL('../../', import.meta.url).pathname;

/** The arguments that make Node run the command line from source. */
export const cli: readonly string[] = [
  process.execPath,
  '--import',
  `${repository}scripts/from-source.mjs`,
  `${repository}src/cli/main.ts`,
];

/** The means by which it runs: a program that starts it, and its environment. */
export interface Means {
  readonly wrapper?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** What it came to. */
export interface Result {
  /** Its exit code, or the signal that ended it. */
  readonly exit: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `holdfast` that runs. */
export interface Running {
  readonly pid: number;
  readonly stdin: NodeJS.WritableStream;
  readonly result: Promise<Result>;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
}

/** Starts `holdfast`; what is left of it is ended after the test. */
export function start(args: readonly string[], { wrapper = [], env = {} }: Means = {}): Running {
  const [program = '', ...rest] = [...wrapper, ...cli, ...args];
  const child = spawn(program, rest, { cwd: repository, env: { ...process.env, ...env }, stdio: 'pipe' });
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const kill = (signal: NodeJS.Signals) => void child.kill(signal);
  onTestFinished(() => kill('SIGKILL'));
  const result = once(child, 'close').then(([code, signal]) => ({
    exit: code ?? signal,
    stdout: stdout(),
    stderr: stderr(),
  }));
  return { pid: child.pid as number, stdin: child.stdin, result, stdout, stderr, kill };
}

/** Runs `holdfast` to its end. */
export function holdfast(args: readonly string[], means?: Means): Promise<Result> {
  return start(args, means).result;
}

function collect(stream: Readable): () => string {
  let text = '';
  stream.on('data', (chunk) => {
    text += chunk;
  });
  return () => text;
}

/** Runs a program as the user nobody, who may read everything: the checkout may be in somebody's home. */
export const asNobody: readonly string[] = [
  'setpriv',
  ...['--reuid=65534', '--regid=65534', '--clear-groups'],
  ...['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search'],
];

export const isRoot: boolean = process.getuid?.() === 0;
