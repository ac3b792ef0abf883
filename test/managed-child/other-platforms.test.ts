import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { ManagedChild } from 'holdfast';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { guardTrees, WINDOWS_GUARD } from '../../src/managed-child/windows-guard.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';

// macOS and Windows are not run here: this tests which commands would be issued there, and in what order.

const platform = Object.getOwnPropertyDescriptor(process, 'platform') as PropertyDescriptor;
let directory = '';

beforeEach(() => {
  directory = temporaryDirectory();
  vi.stubEnv('PATH', `${directory}${delimiter}${process.env.PATH}`);
});

afterEach(() => {
  Object.defineProperty(process, 'platform', platform);
  vi.unstubAllEnvs();
});

/** Puts a program on the PATH that writes down its arguments, then runs a script. */
function standIn(name: string, script: string): () => string[] {
  const log = join(directory, `${name}.log`);
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\necho "$*" >> "${log}"\n${script}\n`);
  chmodSync(path, 0o755);
  return () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []);
}

const pretend = (name: NodeJS.Platform) => Object.defineProperty(process, 'platform', { ...platform, value: name });

describe('on macOS', () => {
  test('the descendants are looked for by their parents before the request to end', async () => {
    const pgrep = standIn('pgrep', 'exec /usr/bin/pgrep "$@"');
    // Without a variable it is not found by `/proc`, which macOS hasn't.
    const script = 'setsid env -i sleep 300 & echo $!; wait';
    const child = await ManagedChild.spawn('sh', ['-c', script], { containment: 'group' });
    const escapee = Number(await new Promise((resolve) => child.stdout?.once('data', resolve)));
    await eventually(() => expect(readFileSync(`/proc/${escapee}/cmdline`, 'utf8')).toMatch(/^sleep/));
    pretend('darwin');
    expect(await child.terminate()).toMatchObject({ reason: 'terminated' });
    expect(pgrep()).toContain(`-P ${child.pid}`);
    expect(pgrep()).toContain(`-P ${escapee}`);
    expect(isRunning(escapee)).toBe(false);
  });

  test('a leader that has ended is not looked for: its pid may be a stranger’s', async () => {
    const pgrep = standIn('pgrep', 'exit 1');
    const child = await ManagedChild.spawn('sh', ['-c', 'sleep 300 & echo'], { containment: 'group', stdin: 'pipe' });
    pretend('darwin');
    await child.closed;
    expect(pgrep()).toEqual([]);
  });
});

describe('on Windows', () => {
  test('the whole tree is ended by taskkill', async () => {
    // Node runs a command line there by cmd.exe.
    const shell = standIn('cmd.exe', `kill -9 "$(echo "$4" | tr -cd '[:digit:]')"`);
    const child = await ManagedChild.spawn('sleep', ['300'], { containment: 'group' });
    pretend('win32');
    expect(await child.terminate()).toMatchObject({ reason: 'terminated', signal: 'SIGKILL' });
    expect(shell()).toEqual([`/d /s /c "taskkill /pid ${child.pid} /T /F"`]);
  });

  function startGuard(lines: readonly string[]) {
    const stdin = new PassThrough();
    const commands: string[] = [];
    const timers: { ms: number; callback: () => void }[] = [];
    const tools = {
      process: { stdin, exit: (code: number) => commands.push(`exit ${code}`) } as never,
      run: (command: string, args: readonly string[]) => commands.push([command, ...args].join(' ')),
      after: (ms: number, callback: () => void) => {
        const timer = { ms, callback };
        timers.push(timer);
        return { [Symbol.dispose]: () => timers.splice(timers.indexOf(timer), 1) } as unknown as Disposable;
      },
    };
    guardTrees(tools, lines);
    return { stdin, commands, timers };
  }

  test('the guard ends every tree that is registered when its owner is gone', async () => {
    const { stdin, commands } = startGuard(['+ 11:0:100:15:1', '+ 12:0:100:15:2']);
    stdin.write('?\n+ 13:0:100:15:3\n- 1');
    stdin.end('2\n');
    await eventually(() => expect(commands.at(-1)).toBe('exit 0'));
    expect(commands).toEqual(['taskkill /PID 11 /T /F', 'taskkill /PID 13 /T /F', 'exit 0']);
  });

  test('the guard keeps leases', async () => {
    const { stdin, commands, timers } = startGuard([]);
    stdin.write('+ 11:0:100:15:1\n+ 12:0:100:15:2\nl 11 1500\nl 12 9000\nl 11 2500\nL 12\n');
    await eventually(() => expect(timers.map(({ ms }) => ms)).toEqual([2_500]));
    timers[0]?.callback();
    expect(commands).toEqual(['taskkill /PID 11 /T /F']);
  });

  test('the guard’s program runs as it is given to Node', async () => {
    const taskkill = standIn('taskkill', 'exit 0');
    const guard = spawn(process.execPath, ['-e', WINDOWS_GUARD, '--', '+ 21:0:100:15:1']);
    guard.stdin.end();
    expect(await once(guard, 'exit')).toEqual([0, null]);
    expect(taskkill()).toEqual(['/PID 21 /T /F']);
  });
});
