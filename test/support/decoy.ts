import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { eventually } from './eventually.ts';
import { endProcess, isRunning } from './processes.ts';

/** A process that no owner has to do with, whose parent is another such: `await using` ends both. */
export interface Decoy extends AsyncDisposable {
  readonly pid: number;
  lives(): boolean;
}

/** @param variable `NAME=value` in its environment, which its parent does not have. */
export async function startDecoy(variable: string): Promise<Decoy> {
  const script = 'env "$0" sh -c \'echo $$; exec sleep 60\' & wait';
  const parent: ChildProcess = spawn('sh', ['-c', script, variable], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = await once(createInterface(parent.stdout as Readable), 'line');
  const pid = Number(line);
  return {
    pid,
    lives: () => isRunning(pid),
    async [Symbol.asyncDispose]() {
      await endProcess(pid);
      await endProcess(parent.pid as number);
    },
  };
}

/** The variable by which an owner's child and all that it starts are found; not that of an owner which runs these tests. */
export function tagOf(pid: number): Promise<string> {
  const isOurs = (variable: string) => (variable.split('=')[0] as string) in process.env;
  // While it changes its program it shows no environment.
  return eventually(() => {
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    const tag = variables.find((variable) => variable.startsWith('HOLDFAST_CHILD_') && !isOurs(variable));
    if (!tag) throw new Error(`${pid} has no tag`);
    return tag;
  });
}
