import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import { cgroupPrefix } from './cgroup.ts';
import { inheritedLocks, needDescriptors } from './descriptors.ts';
import { GUARD_SCRIPT } from './guard-script.ts';
import { tagName } from './tag.ts';
import { UNDERTAKER } from './undertaker.ts';
import { WINDOWS_GUARD } from './windows-guard.ts';

/** Starts a guard that knows the groups; `stdin` is for lines to it, `stdout` for its answers. */
export function spawnGuard(groups: readonly string[]): ChildProcess {
  return process.platform === 'win32' ? spawnWindowsGuard(groups) : spawnShell(groups);
}

/**
 * `argv[0]` must be `sh`: Node's pipe is a socket, and a shell called otherwise may read start-up files from it. The guard
 * outlives this process for a moment and must not keep its locks, so `/dev/null` is laid over them.
 */
function spawnShell(groups: readonly string[]): ChildProcess {
  needDescriptors(3);
  const stdio: ('pipe' | 'ignore' | number)[] = ['pipe', 'pipe', 'ignore'];
  const devNull = openSync('/dev/null', 'r+');
  for (const descriptor of inheritedLocks()) {
    while (stdio.length < descriptor) stdio.push('ignore');
    stdio[descriptor] = devNull;
  }
  const known = [nodeProgram(), tagName(), cgroupPrefix(), ...groups];
  try {
    return spawn('/bin/sh', ['-c', 'eval "$HOLDFAST_GUARD"', 'holdfast-guard', ...known], {
      argv0: 'sh',
      cwd: '/',
      detached: true,
      // The programs are here and not in the arguments, so that the process list stays readable.
      env: {
        PATH: process.env.PATH ?? '/usr/bin:/bin',
        HOLDFAST_GUARD: GUARD_SCRIPT,
        HOLDFAST_UNDERTAKER: UNDERTAKER,
      },
      stdio,
    });
  } finally {
    closeSync(devNull);
  }
}

function spawnWindowsGuard(groups: readonly string[]): ChildProcess {
  return spawn(process.execPath, ['-e', WINDOWS_GUARD, '--', ...groups], {
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
