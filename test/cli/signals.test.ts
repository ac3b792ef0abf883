import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ManagedChild, SourceLock } from 'holdfast';
import { beforeEach, describe, expect, test } from 'vitest';
import { SignalRelay } from '../../src/cli/signals.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Running, start } from './support.ts';

const tuner = 'http://192.168.1.20:5004/auto/v5.1';

let dir = '';
beforeEach(() => {
  dir = temporaryDirectory();
});

function underLock(script: string, grace = '10s'): Running {
  return start(['run', '--source', tuner, '--dir', dir, '--grace', grace, '--', 'sh', '-c', script]);
}

/** The pids that the command says, once it has said so many. */
function pidsOf(running: Running, count: number): Promise<number[]> {
  return eventually(() => {
    const pids = [...running.stdout().matchAll(/^\d+$/gm)].map(([pid]) => Number(pid));
    expect(pids).toHaveLength(count);
    return pids;
  }, patienceMs(20_000));
}

function stateOf(pid: number): string | undefined {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '')[0];
}

/** Nothing holds the lock, and nobody died with it. */
async function expectFree(): Promise<void> {
  expect(readdirSync(dir).filter((name) => name.endsWith('.meta'))).toEqual([]);
  await (await SourceLock.acquire(tuner, { dir, onWarning: () => expect.unreachable() })).release();
}

const naps = 'while :; do sleep 0.02; done';

describe('a signal that holdfast gets', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s reaches the whole group and ends it', async (signal) => {
    const name = signal.slice(3);
    const grandchild = `sh -c 'trap "echo grandchild ${name}; exit" ${name}; echo $$; ${naps}'`;
    const running = underLock(`trap "echo child ${name}" ${name}; echo $$; ${grandchild}; exit 7`);
    const pids = await pidsOf(running, 2);
    running.kill(signal);
    const { exit, stdout } = await running.result;
    expect(exit).toBe(7);
    expect(stdout).toContain(`child ${name}\n`);
    expect(stdout).toContain(`grandchild ${name}\n`);
    expect(pids.filter(isRunning)).toEqual([]);
    await expectFree();
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s ends holdfast as it ended the command', async (signal) => {
    const running = underLock('echo $$; exec sleep 60');
    const [child = 0] = await pidsOf(running, 1);
    running.kill(signal);
    expect(await running.result).toMatchObject({ exit: signal, stderr: '' });
    expect(isRunning(child)).toBe(false);
    await expectFree();
  });

  test.each(['SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const)(
    '%s is passed on and ends nothing',
    async (signal) => {
      const name = signal.slice(3);
      const running = underLock(`trap "echo got" ${name}; trap "echo ended; exit 5" TERM; echo $$; ${naps}`);
      await pidsOf(running, 1);
      for (let times = 1; times <= 2; times++) {
        running.kill(signal);
        await eventually(() => expect(running.stdout().match(/got/g)).toHaveLength(times));
      }
      running.kill('SIGTERM');
      expect((await running.result).exit).toBe(5);
    },
  );

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    '%s is followed by SIGKILL for all of it after --grace',
    async (signal) => {
      const ignoring = `trap "" TERM INT HUP; echo $$; ${naps}`;
      const running = underLock(`trap "" TERM INT HUP; sh -c '${ignoring}' & ${ignoring}`, '300ms');
      const pids = await pidsOf(running, 2);
      const asked = performance.now();
      running.kill(signal);
      expect((await running.result).exit).toBe('SIGKILL');
      expect(performance.now() - asked).toBeGreaterThan(290);
      expect(performance.now() - asked).toBeLessThan(5_000);
      expect(pids.filter(isRunning)).toEqual([]);
      await expectFree();
    },
  );

  test('a second time is passed on again, within the grace of the first', async () => {
    const running = underLock(`trap "echo got" INT; echo $$; ${naps}`, '3s');
    await pidsOf(running, 1);
    for (let times = 1; times <= 2; times++) {
      running.kill('SIGINT');
      await eventually(() => expect(running.stdout().match(/got/g)).toHaveLength(times));
    }
    expect((await running.result).exit).toBe('SIGKILL');
  });

  test('SIGTSTP stops the command and holdfast, and SIGCONT continues both', async () => {
    const running = underLock('trap "exit 6" TERM; echo $$; read input'); // one that forks may hang in vfork instead
    const [child = 0] = await pidsOf(running, 1);
    running.kill('SIGTSTP');
    await eventually(() => expect([stateOf(child), stateOf(running.pid)]).toEqual(['T', 'T']));
    running.kill('SIGCONT');
    await eventually(() => {
      expect(stateOf(child)).not.toBe('T');
      expect(stateOf(running.pid)).not.toBe('T');
    });
    running.kill('SIGTERM');
    expect((await running.result).exit).toBe(6);
  });

  test('ends a command that is stopped', async () => {
    const running = underLock('echo $$; kill -STOP $$; sleep 60');
    const [child = 0] = await pidsOf(running, 1);
    await eventually(() => expect(stateOf(child)).toBe('T'));
    running.kill('SIGINT');
    expect((await running.result).exit).toBe('SIGINT');
  });

  test('gives all of it one grace, whichever signal it is', async () => {
    const script = 'trap "" TERM INT; setsid sleep 300 & echo ready; while :; do sleep 0.05; done';
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const running = underLock(script, '1s');
      await eventually(() => expect(running.stdout()).toContain('ready'), patienceMs(20_000));
      const before = performance.now();
      running.kill(signal);
      expect(await running.result).toMatchObject({ exit: 'SIGKILL' });
      expect(performance.now() - before).toBeLessThan(promisedMs(1_800));
    }
  });

  test('while the lock is being taken ends it before the command is started', async () => {
    const programs = temporaryDirectory();
    const flock = execFileSync('which', ['flock'], { encoding: 'utf8' }).trim();
    const slow = `#!/bin/sh\ntouch ${programs}/asked; until [ -e ${programs}/go ]; do sleep 0.01; done; exec ${flock} "$@"\n`;
    writeFileSync(join(programs, 'flock'), slow, { mode: 0o755 });
    const options = ['--source', tuner, '--dir', dir, '--backend', 'flock', '--', 'touch', join(programs, 'started')];
    const running = start(['run', ...options], { env: { PATH: `${programs}:${process.env.PATH}` } });
    await eventually(() => expect(existsSync(join(programs, 'asked'))).toBe(true), patienceMs(20_000));
    running.kill('SIGTERM');
    await eventually(() => expect(pendingSignals(running.pid)).toBe(0n));
    writeFileSync(join(programs, 'go'), '');
    expect(await running.result).toEqual({ exit: 'SIGTERM', stdout: '', stderr: '' });
    expect(existsSync(join(programs, 'started'))).toBe(false);
  });

  test('while the command is being started is passed on when it runs', async () => {
    const relay = new SignalRelay();
    try {
      process.emit('SIGHUP', 'SIGHUP');
      expect(relay.early).toBe('SIGHUP');
      const child = await ManagedChild.spawn('sleep', ['60']);
      relay.passTo(child);
      expect((await child.closed).signal).toBe('SIGHUP');
    } finally {
      relay[Symbol.dispose]();
    }
  });

  test.each([0, 4, 8, 12, 16, 20, 24, 28])('ends it %i ms after it can come, and leaves nothing', async (ms) => {
    const running = underLock('exec sleep 60');
    await eventually(() => expect(catches(running.pid, 1)).toBe(true), patienceMs(20_000));
    await new Promise((resolve) => setTimeout(resolve, ms)); // the moment is what is varied
    running.kill('SIGHUP');
    expect(await running.result).toMatchObject({ exit: 'SIGHUP', stderr: '' });
    await expectFree();
  });
});

test('the guard ends the command when holdfast is killed', async () => {
  const running = underLock(`trap "" TERM; sh -c 'trap "" TERM; echo $$; ${naps}' & echo $$; ${naps}`, '200ms');
  const pids = await pidsOf(running, 2);
  running.kill('SIGKILL');
  await running.result;
  await eventually(() => expect(pids.filter(isRunning)).toEqual([]));
  const lock = await SourceLock.acquire(tuner, { dir, timeoutMs: promisedMs(5_000), onWarning: () => {} });
  expect(lock.reclaimedFrom?.pid).toBe(running.pid);
  await lock.release();
});

/** Whether a process has a handler for the signal of this number. */
function catches(pid: number, signal: number): boolean {
  return (signalsOf(pid, 'SigCgt') & (1n << BigInt(signal - 1))) !== 0n;
}

function pendingSignals(pid: number): bigint {
  return signalsOf(pid, 'ShdPnd');
}

/** A set of signals in the status of a process. */
function signalsOf(pid: number, field: string): bigint {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return BigInt(`0x${new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1]}`);
}
