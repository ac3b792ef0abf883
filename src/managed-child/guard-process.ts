import { type ChildProcess, type IOType, type SpawnOptions, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import { isSea } from 'node:sea';
import { cgroupPrefix } from './cgroup.ts';
import { inheritedLocks, needDescriptors } from './descriptors.ts';
import { GUARD_SCRIPT } from './guard-script.ts';
import { LEASE_KEEPER } from './lease-keeper.ts';
import { UNDERTAKER } from './node-program.ts';
import { tagName } from './tag.ts';
import { WINDOWS_GUARD } from './windows-guard.ts';

/** Starts a guard and tells it these lines; `stdin` is for more of them. */
export function spawnGuard(lines: readonly string[]): ChildProcess {
  return process.platform === 'win32' ? spawnWindowsGuard(lines) : spawnShell(lines);
}

/** `argv[0]` must be `sh`: Node's pipe is a socket, and a shell called otherwise may read start-up files from it. */
function spawnShell(lines: readonly string[]): ChildProcess {
  const known = [nodeProgram(), tagName(), cgroupPrefix(), ...lines];
  return spawnBeside('/bin/sh', ['-c', 'eval "$HOLDFAST_GUARD"', 'holdfast-guard', ...known], {
    argv0: 'sh',
    env: {
      PATH: [process.env.PATH, '/usr/bin:/bin'].filter(Boolean).join(':'),
      HOLDFAST_GUARD: GUARD_SCRIPT,
      HOLDFAST_PROGRAM: UNDERTAKER,
    },
    stdio: ['pipe', 'ignore', 'ignore'],
  });
}

/** The Windows guard keeps leases itself. */
export function canKeepLeases(): boolean {
  return process.platform !== 'win32' && nodeProgram() !== '';
}

/** Starts a lease keeper and tells it these lines; `stdin` is for more of them. */
export function spawnLeaseKeeper(lines: readonly string[]): ChildProcess {
  const known = [tagName(), cgroupPrefix(), ...lines];
  return spawnBeside(nodeProgram(), ['-e', 'eval(process.env.HOLDFAST_PROGRAM)', '--', ...known], {
    env: { HOLDFAST_PROGRAM: LEASE_KEEPER },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
}

/**
 * In a session of its own. It outlives this process for a moment and must not keep its locks, so `/dev/null` is laid over them.
 * Programs are in its environment and not in its arguments, so that the process list stays readable.
 */
function spawnBeside(
  program: string,
  args: readonly string[],
  { stdio: standard, ...options }: SpawnOptions & { readonly stdio: readonly IOType[] },
): ChildProcess {
  needDescriptors(2);
  const stdio: (IOType | number)[] = [...standard];
  const devNull = openSync('/dev/null', 'r+');
  for (const descriptor of inheritedLocks()) {
    while (stdio.length < descriptor) stdio.push('ignore');
    stdio[descriptor] = devNull;
  }
  try {
    return spawn(program, args, { ...options, cwd: '/', detached: true, stdio });
  } finally {
    closeSync(devNull);
  }
}

function spawnWindowsGuard(lines: readonly string[]): ChildProcess {
  return spawn(process.execPath, ['-e', WINDOWS_GUARD, '--', ...lines], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    windowsHide: true,
  });
}

/** An application that was made one file with Node would start itself anew. */
function nodeProgram(): string {
  const isNode = /^node/.test(basename(process.execPath)) && !isSea() && !process.versions.electron;
  return isNode ? process.execPath : '';
}
