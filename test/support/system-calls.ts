import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type DebianProgram, debianProgram } from './debian.ts';
import { eventually } from './eventually.ts';
import { fixtureArguments } from './processes.ts';
import { patienceMs } from './promised.ts';

/** Undefined where it can't be had or may not trace; in CI that is an error, lest tests vanish. */
export async function straceProgram(): Promise<DebianProgram | undefined> {
  const strace = await debianProgram('strace', ['strace', 'libunwind8']);
  if (!strace) return undefined;
  try {
    execFileSync(strace.path, ['-o', '/dev/null', 'true'], { env: strace.env, stdio: 'pipe' });
    return strace;
  } catch (error) {
    if (process.env.CI) throw new Error('strace may not trace in CI', { cause: error });
    console.warn(`skipped: strace may not trace here: ${(error as Error).message}`);
    return undefined;
  }
}

/** A system call of a process's main thread. */
export interface SystemCall {
  readonly name: string;
  /** Which call of that name it is, from 1. */
  readonly nth: number;
  /** Name and first argument without what differs from run to run: to tell one call from another. */
  readonly what: string;
  /** As strace shows it. */
  readonly line: string;
}

/** A fixture that says its pid and waits for a line before it does what is to be watched. */
interface Watched {
  readonly fixture: string;
  readonly request: object;
  /** For the record; its path is left out of what the calls are said to be about. */
  readonly directory: string;
  /** Of which calls; as strace's `trace=`. */
  readonly traced: string;
  readonly env?: NodeJS.ProcessEnv;
}

interface Run {
  readonly pid: number;
  readonly calls: readonly SystemCall[];
  readonly isKilled: boolean;
}

/** Runs the fixture and watches its system calls; kills it before it makes the one given. */
export async function watchCalls(strace: DebianProgram, watched: Watched, before?: SystemCall): Promise<Run> {
  const { fixture, request, directory, traced, env } = watched;
  const log = join(directory, 'strace.log');
  const tampering = before ? `-e inject=${before.name}:signal=KILL:when=${before.nth}` : '';
  // The tracer is the parent: a hardened kernel lets nobody else trace.
  const script = `"$0" "$@" <&3 & read -r _ && exec ${strace.path} -y -o ${log} -e trace=${traced} ${tampering} -p $!`;
  const shell = spawn('sh', ['-c', script, process.execPath, ...fixtureArguments(fixture, [request])], {
    env: { ...strace.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
  const exited = once(shell, 'exit');
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    shell[stream]?.on('data', (chunk) => {
      said[stream] += chunk;
    });
  const has = (stream: keyof typeof said, text: string) => () => {
    if (!said[stream].includes(text)) throw new Error(`no ${JSON.stringify(text)} yet: ${JSON.stringify(said)}`);
  };
  await eventually(has('stdout', '\n'), patienceMs(20_000));
  const pid = Number(said.stdout);
  shell.stdin?.end('attach\n');
  await eventually(has('stderr', 'attached'), patienceMs(20_000)).catch((error) => {
    process.kill(pid, 'SIGKILL');
    throw error;
  });
  const gate = shell.stdio[3] as Socket;
  gate.on('error', () => {}); // it may be killed before it has read that
  gate.end('begin\n');
  await exited;
  const lines = readFileSync(log, 'utf8').split('\n');
  const isKilled = lines.includes('+++ killed by SIGKILL +++');
  return { pid, calls: callsIn(lines, directory), isKilled };
}

function callsIn(lines: readonly string[], directory: string): SystemCall[] {
  const counts = new Map<string, number>();
  return lines.flatMap((line) => {
    const [, name = '', argument = ''] = /^(\w+)\((?:AT_FDCWD<[^>]*>, )?([^,)]*)/.exec(line) ?? [];
    if (!name) return [];
    const nth = (counts.get(name) ?? 0) + 1;
    counts.set(name, nth);
    const file = /^\d+<(.*)>$/.exec(argument)?.[1] ?? argument;
    // Pipes and the like are the event loop's, which may use them at any time.
    if (/^\w+:/.test(file)) return [];
    return [{ name, nth, what: `${name}(${file.replace(directory, '').replace(/\d+/g, '#')})`, line }];
  });
}
