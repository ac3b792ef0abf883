import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ageMs, identityOf } from '../../src/internal/proc.ts';
import { withLock } from '../../src/source-lock/keepers.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';

test('a fork of a process that has the lock does not count beside it, but does when that is gone', async () => {
  const path = join(temporaryDirectory(), 'lock');
  const script = 'exec 9>> "$0"; flock 9; (while :; do sleep 0.1; done) & echo $!; wait';
  const shell = spawn('sh', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(shell.stdout, 'data');
  const fork = Number(line);
  const file = { path, inode: String(statSync(path).ino) };
  const found = () => withLock(file, [shell.pid as number, fork]).map(({ pid }) => pid);
  try {
    expect(withLock(file, [fork])).toEqual([]);
    expect(found()).toEqual([shell.pid]);
    shell.kill('SIGKILL');
    await once(shell, 'exit');
    expect(found()).toEqual([fork]);
  } finally {
    shell.kill('SIGKILL');
    process.kill(fork, 'SIGKILL');
  }
  await eventually(() => expect(isRunning(fork)).toBe(false));
});

test('one that would lose it by becoming another program, as a fork of a dead holder is about to, counts if it did not', async () => {
  const path = join(temporaryDirectory(), 'lock');
  // Perl opens files as Node does: closed on exec.
  const script = 'open F, ">>", $ARGV[0]; flock F, 2; $pid = fork; syswrite STDOUT, "$pid\n" if $pid; sleep 300';
  const holder = spawn('perl', ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(holder.stdout, 'data');
  const fork = Number(line);
  const file = { path, inode: String(statSync(path).ino) };
  try {
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    const age = await eventually(() => {
      expect(withLock(file, [fork]).map(({ pid }) => pid)).toEqual([fork]);
      return ageMs(identityOf(fork));
    });
    expect(age).toBeGreaterThanOrEqual(1_000);
  } finally {
    holder.kill('SIGKILL');
    process.kill(fork, 'SIGKILL');
  }
  await eventually(() => expect(isRunning(fork)).toBe(false));
});
