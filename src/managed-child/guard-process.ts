import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import { cgroupPrefix } from './cgroup.ts';
import { inheritedLocks, needDescriptors } from './descriptors.ts';
import { GUARD_SCRIPT } from './guard-script.ts';
import { tagName } from './tag.ts';
import { UNDERTAKER } from './undertaker.ts';
import { WINDOWS_GUARD } from './windows-guard.ts';

/** Starts a guard and tells it these lines; `stdin` is for more of them, `stdout` for its answers. */
export function spawnGuard(lines: readonly string[]): ChildProcess {
  return process.platform === 'win32' ? spawnWindowsGuard(lines) : spawnShell(lines);
}

/**
 * `argv[0]` must be `sh`: Node's pipe is a socket, and a shell called otherwise may read start-up files from it. The guard
 * outlives this process for a moment and must not keep its locks, so `/dev/null` is laid over them.
 */
function spawnShell(lines: readonly string[]): ChildProcess {
  needDescriptors(3);
  const stdio: ('pipe' | 'ignore' | number)[] = ['pipe', 'pipe', 'ignore'];
  const devNull = openSync('/dev/null', 'r+');
  for (const descriptor of inheritedLocks()) {
    while (stdio.length < descriptor) stdio.push('ignore');
    stdio[descriptor] = devNull;
  }
  const known = [nodeProgram(), tagName(), cgroupPrefix(), ...lines];
  try {
    return spawn('/bin/sh', ['-c', 'eval "$HOLDFAST_GUARD"', 'holdfast-guard', ...known], {
      argv0: 'sh',
      cwd: '/',
      detached: true,
      // The programs are here and not in the arguments, so that the process list stays readable.
      env: {
        PATH: [process.env.PATH, '/usr/bin:/bin'].filter(Boolean).join(':'),
        HOLDFAST_GUARD: GUARD_SCRIPT,
        HOLDFAST_UNDERTAKER: UNDERTAKER,
      },
      stdio,
    });
  } finally {
    closeSync(devNull);
  }
}

function spawnWindowsGuard(lines: readonly string[]): ChildProcess {
  return spawn(process.execPath, ['-e', WINDOWS_GUARD, '--', ...lines], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
    windowsHide: true,
  });
}

/** An application that was made one file with Node would start itself anew. */
function nodeProgram(): string {
  return /^node/.test(basename(process.execPath)) && !process.versions.electron ? process.execPath : '';
}
