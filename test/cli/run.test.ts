import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SourceLock } from 'holdfast';
import { beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { childrenOf, endProcess, isRunning, locksOf } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { asNobody, holdfast, isRoot, type Means, type Running, start } from './support.ts';

const tuner = 'http://192.168.1.20:5004/auto/v5.1';

let dir = '';
beforeEach(() => {
  dir = temporaryDirectory();
});

/** Runs a shell program under the lock of the tuner. */
function underLock(script: string, options: readonly string[] = [], means?: Means): Running {
  return start(['run', '--source', tuner, '--dir', dir, ...options, '--', 'sh', '-c', script], means);
}

/** What the lock directory has when nothing is held and nobody died. */
function expectTidy(): void {
  expect(readdirSync(dir).filter((name) => !name.endsWith('.lock') && name !== 'FORMAT')).toEqual([]);
}

function untilSaid(running: Running, text: string): Promise<void> {
  return eventually(() => expect(running.stdout()).toContain(text), patienceMs(20_000));
}

describe('holdfast run ends as the command does:', () => {
  test.each([0, 1, 3, 75, 255])('with its exit code %i', async (code) => {
    expect(await underLock(`echo out; echo err >&2; exit ${code}`).result).toEqual({
      exit: code,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expectTidy();
    expect(await SourceLock.inspect(tuner, { dir })).toBeUndefined();
  });

  test.each(['SIGTERM', 'SIGKILL', 'SIGINT', 'SIGPIPE', 'SIGUSR1', 'SIGABRT'])('by its signal %s', async (signal) => {
    const { exit, stderr } = await underLock(`ulimit -c 0; kill -${signal.slice(3)} $$`).result;
    expect({ exit, stderr }).toEqual({ exit: signal, stderr: '' });
    expectTidy();
  });

  test.each([
    ['127 if there is no such command', '/nowhere/at-all', 127],
    ['127 if it is not on the PATH', 'no-such-command-anywhere', 127],
    ['126 if it may not be executed', '/etc/passwd', 126],
  ])('with %s', async (_, command, exit) => {
    const result = await holdfast(['run', '--source', tuner, '--dir', dir, '--', command]);
    expect(result).toMatchObject({ exit, stdout: '' });
    expect(result.stderr).toMatch(new RegExp(`^holdfast: cannot start ${command}: .*\n$`));
    expectTidy();
  });
});

describe('the command', () => {
  test('has the standard streams of holdfast, which stay as they were', async () => {
    const flags = 'grep -h flags /proc/$$/fdinfo/1 /proc/$$/fdinfo/2';
    const other = underLock('echo held; exec sleep 60', ['--grace', '100ms']);
    await untilSaid(other, 'held');
    other.kill('SIGKILL');
    await other.result;
    const running = underLock(`cat; ${flags}`, ['--on-busy', 'wait', '--timeout', '20s']);
    running.stdin.end('from stdin\n');
    const { exit, stdout, stderr } = await running.result;
    expect(exit).toBe(0);
    expect(stderr).toMatch(/^holdfast: the last holder of url:http.* died with the lock: pid \d+ since .*sleep 60\n$/);
    const [input, ...modes] = stdout.trim().split('\n');
    expect(input).toBe('from stdin');
    const O_NONBLOCK = 0o4000;
    expect(modes.map((mode) => Number.parseInt(mode.slice('flags:'.length), 8) & O_NONBLOCK)).toEqual([0, 0]);
  });

  test('holds the lock together with holdfast, which is named with the command as its holder', async () => {
    const running = underLock('echo "$HOLDFAST_HELD"; cat', ['--source', 'hdhomerun:1234ABC2/v5.1']);
    await untilSaid(running, '60,61');
    const [child] = childrenOf(running.pid).filter(({ command }) => command.startsWith('sh -c echo'));
    // It may speak before holdfast has noted that it runs.
    await eventually(async () =>
      expect(await SourceLock.inspect(tuner, { dir })).toMatchObject({
        pid: running.pid,
        command: expect.stringMatching(/^holdfast run -- sh -c echo/),
        children: [child?.pid],
      }),
    );
    running.stdin.end();
    expect(await running.result).toMatchObject({ exit: 0, stderr: '' });
    expectTidy();
  });

  test.each([
    ['in its group', 'trap "" TERM; sleep 60 & echo $!', /^$/],
    [
      'in a session of its own',
      'trap "" TERM; p=$(setsid sh -c "sleep 60 >&- & echo \\$!"); echo $p',
      /^holdfast: the command has ended, and what it left running was ended too \(processes: 1\)/,
    ],
  ])('leaves no daemon behind %s', async (_, script, notice) => {
    const { exit, stdout, stderr } = await underLock(script, ['--grace', '100ms']).result;
    expect(exit).toBe(0);
    expect(stderr).toMatch(notice);
    expect(isRunning(Number(stdout))).toBe(false);
    expectTidy();
  });

  test.skipIf(!isRoot)(
    'that leaves a process of another user behind ends holdfast all the same, which says so',
    async () => {
      const becomeRoot = join(dir, 'become-root');
      copyFileSync(execFileSync('which', ['setpriv'], { encoding: 'utf8' }).trim(), becomeRoot);
      chownSync(becomeRoot, 0, 65534);
      chmodSync(becomeRoot, 0o4750);
      chmodSync(dir, 0o755);
      const locks = join(dir, 'locks');
      mkdirSync(locks);
      chownSync(locks, 65534, 65534);
      const untilRoot = 'until grep -q "^Uid:.0" /proc/$!/status; do sleep 0.01; done';
      const script = `${becomeRoot} --reuid=0 sleep 300 > /dev/null 2>&1 & echo $!; ${untilRoot}; exit 3`;
      const options = ['--source', tuner, '--dir', locks, '--grace', '10ms', '--', 'sh', '-c', script];
      const { exit, stdout, stderr } = await holdfast(['run', ...options], { wrapper: asNobody });
      const left = Number(stdout);
      expect(exit).toBe(3);
      expect(stderr).toMatch(
        new RegExp(`^holdfast: sh: process ${left} still lives .*\nholdfast: .* stays locked while`),
      );
      expect(await SourceLock.inspect(tuner, { dir: locks })).toMatchObject({ pid: left });
      await endProcess(left);
    },
  );

  test('ends when the lock is lost, and holdfast says so and exits with 125', async () => {
    const running = underLock('echo $$; exec sleep 60');
    await untilSaid(running, '\n');
    for (const name of readdirSync(dir).filter((each) => each.endsWith('.lock'))) rmSync(join(dir, name));
    const { exit, stdout, stderr } = await running.result;
    expect(exit).toBe(125);
    expect(stderr).toMatch(/^holdfast: the lock of url:http.* is lost: .*; the command was ended\n$/);
    expect(isRunning(Number(stdout))).toBe(false);
  });

  test.skipIf(!isRoot)('runs for a user who has no rights', async () => {
    chownSync(dir, 65534, 65534);
    const result = await underLock('id -u; exit 4', [], { wrapper: asNobody }).result;
    expect(result).toEqual({ exit: 4, stdout: '65534\n', stderr: '' });
  });
});

describe('a source that another holds', () => {
  const secret = 'http://joe:hunter2@192.168.1.20:5004/auto/v5.1';
  const marker = () => join(dir, 'started');
  const attempt = (...options: string[]) =>
    start(['run', '--source', secret, '--dir', dir, ...options, '--', 'touch', marker()]);

  test.each([
    ['skipped with exit 0', [], 0],
    ['skipped with exit 0 if that is said', ['--on-busy', 'skip'], 0],
    ['a failure with exit 75', ['--on-busy', 'fail'], 75],
    ['a failure with exit 75 once the time is over', ['--on-busy', 'wait', '--timeout', '50ms'], 75],
  ])('is %s, and one line names the holder without credentials', async (_, options, exit) => {
    const command = 'reader\n --url http://joe:hunter2@host/';
    await using _lock = await SourceLock.acquire(tuner, { dir, command });
    const result = await attempt(...options).result;
    expect(result).toMatchObject({ exit, stdout: '' });
    expect(result.stderr).toMatch(
      new RegExp(`^holdfast: source url:http\\S+ is held by pid ${process.pid} on \\S+ since \\d.*: reader\\\\n .*\n$`),
    );
    expect(result.stderr).not.toContain('hunter2');
    expect(existsSync(marker())).toBe(false);
  });

  test('is waited for, and the command starts when it is free', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    const running = attempt('--on-busy', 'wait');
    await untilWaiting(running);
    expect(existsSync(marker())).toBe(false);
    await lock.release();
    expect(await running.result).toEqual({ exit: 0, stdout: '', stderr: '' });
    expect(existsSync(marker())).toBe(true);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('is waited for until %s, which ends it', async (signal) => {
    await using _lock = await SourceLock.acquire(tuner, { dir });
    const running = attempt('--on-busy', 'wait');
    await untilWaiting(running);
    running.kill(signal);
    expect(await running.result).toEqual({ exit: signal, stdout: '', stderr: '' });
    expect(existsSync(marker())).toBe(false);
  });

  /** It has the lock file open. */
  function untilWaiting({ pid }: Running): Promise<void> {
    return eventually(() => expect(locksOf(pid)).toHaveLength(1), patienceMs(20_000));
  }

  test('by flock(1) on a --lock-file is busy too', async () => {
    const file = join(dir, 'by-hand.lock');
    const wrapper = ['flock', file];
    const result = await holdfast(['run', '--source', tuner, '--lock-file', file, '--on-busy', 'fail', '--', 'true'], {
      wrapper,
    });
    expect(result).toMatchObject({ exit: 75, stdout: '' });
  });
});
