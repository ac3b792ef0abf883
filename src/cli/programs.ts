import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after } from '../internal/time.ts';

const RUN_LIMIT_MS = 5_000;

/** Where a program is on the `PATH`. */
export function findProgram(name: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** What a program says on stdout; rejects if it can't be started, fails, or takes longer than 5 s. */
export function outputOf(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const running = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const limit = after(RUN_LIMIT_MS, () => running.kill('SIGKILL'));
    let output = '';
    running.stdout.on('data', (chunk) => {
      output += chunk;
    });
    running.once('error', reject);
    running.once('close', (code, signal) => {
      limit[Symbol.dispose]();
      if (code === 0) resolve(output);
      else reject(new Error(signal ? `it was ended by ${signal}` : `it ended with exit code ${code}`));
    });
  });
}
