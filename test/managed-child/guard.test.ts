import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GUARD_SCRIPT } from '../../src/managed-child/guard-script.ts';
import { UNDERTAKER } from '../../src/managed-child/node-program.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { childrenOf, guardOf, isRunning, startFixture, startProgram } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const isGuard = ({ command }: { command: string }) => command.includes('holdfast-guard');

test('there is no guard before the first child and one for all of them after', async () => {
  const owner = startFixture('guarded');
  expect(await owner.next()).toEqual([]);
  const children = await owner.next();
  expect(children).toHaveLength(3);
  expect(children.filter(isGuard)).toHaveLength(1);
  await owner.kill();
  await eventually(() => expect(children.map(({ pid }: { pid: number }) => pid).filter(isRunning)).toEqual([]));
});

test('a guard that is killed is replaced, and the new one knows all children', async () => {
  const owner = startFixture('guarded');
  await owner.next();
  const before: { pid: number; command: string }[] = await owner.next();
  const first = before.find(isGuard)?.pid as number;
  process.kill(first, 'SIGKILL');
  const second = await eventually(() => {
    const guard = childrenOf(owner.pid).find((child) => isGuard(child) && child.pid !== first);
    expect(guard).toBeDefined();
    return guard?.pid as number;
  });
  await owner.kill();
  const sleepers = before.filter((child) => !isGuard(child)).map(({ pid }) => pid);
  await eventually(() => expect([...sleepers, second].filter(isRunning)).toEqual([]));
});

test('the guard ignores the signals of a terminal and of a service manager', async () => {
  const owner = startFixture('guarded');
  await owner.next();
  const guard = (await owner.next()).find(isGuard).pid;
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGTERM', 'SIGPIPE', 'SIGTSTP'] as const)
    process.kill(guard, signal);
  owner.process.stdin?.write('?\n');
  expect((await owner.next()).some((child: { pid: number }) => child.pid === guard)).toBe(true);
  await owner.kill();
  await eventually(() => expect(isRunning(guard)).toBe(false));
});

test('a guard that can not be replaced at once, for want of descriptors, is replaced when it can be', async () => {
  const owner = startFixture('guarded', [{ starving: true }], { TEST_DESCRIPTORS: '100' });
  await owner.next();
  const before: { pid: number; command: string }[] = await owner.next();
  const first = before.find(isGuard)?.pid as number;
  process.kill(first, 'SIGKILL');
  expect(await owner.next()).toBe('fed');
  await eventually(() => expect(childrenOf(owner.pid).filter(isGuard)).toHaveLength(1));
  await owner.kill();
  await eventually(() => expect(before.map(({ pid }) => pid).filter(isRunning)).toEqual([]));
});

test('what the guard runs when its owner is gone ends what carries the tag, by Node', async () => {
  // Not a child of this process, which does not carry the tag: that would be a stranger's copy of it.
  const script =
    'HOLDFAST_CHILD_test="7;" sleep 300 > /dev/null 2>&1 & HOLDFAST_CHILD_test="8;" sleep 300 > /dev/null 2>&1 & echo $!';
  const pid = Number(execFileSync('sh', ['-c', script]));
  const env = { HOLDFAST_PROGRAM: UNDERTAKER };
  const run = (...scope: readonly string[]) => {
    const args = ['-e', 'eval(process.env.HOLDFAST_PROGRAM)', '--', 'HOLDFAST_CHILD_test', '', ...scope];
    expect(spawnSync(process.execPath, args, { env, encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  };
  run('these', '0:0:0:9:7');
  expect(isRunning(pid)).toBe(true);
  run('all');
  expect(isRunning(pid)).toBe(false);
});

test.concurrent.for<[when: string, graceMs: number, limitMs: number]>([
  ['at once where it has no grace', 0, 1_000],
  ['in the end where it has one', 500, 20_000],
])(
  'a guard whose Node hangs at its start ends by itself what left its group, %s',
  { timeout: promisedMs(45_000) },
  async ([, graceMs, limitMs], { onTestFinished }) => {
    const node = join(temporaryDirectory(onTestFinished), 'node');
    writeFileSync(node, '#!/bin/sh\nexec sleep 300\n', { mode: 0o755 });
    const owner = startProgram(
      `
      import { ManagedChild } from 'holdfast';
      process.execPath = ${JSON.stringify(node)};
      const options = { graceMs: ${graceMs}, containment: 'group' };
      const child = await ManagedChild.spawn('sh', ['-c', 'setsid sleep 300 & echo $!; wait'], options);
      child.stdout.pipe(process.stdout);
    `,
    );
    const escapee = Number(await owner.says(/^\d+\n/));
    // While it changes its program it shows no environment, so that a single look misses it.
    await eventually(() => expect(readFileSync(`/proc/${escapee}/cmdline`, 'utf8')).toBe('sleep\x00300\x00'));
    const guard = guardOf(owner.pid);
    await owner.kill();
    await eventually(() => expect(isRunning(escapee)).toBe(false), promisedMs(limitMs));
    await eventually(() => expect(isRunning(guard)).toBe(false), promisedMs(20_000));
  },
);

test.concurrent('a guard waits for the grace of what left its group, when the group is gone', async () => {
  const owner = startProgram(`
    import { ManagedChild } from 'holdfast';
    const options = { graceMs: 60_000, containment: 'group' };
    const script = 'setsid sh -c "trap : TERM; echo \\\\$\\\\$; while :; do sleep 0.1; done" 2> /dev/null & exec sleep 300';
    const child = await ManagedChild.spawn('sh', ['-c', script], options);
    child.stdout.pipe(process.stdout);
  `);
  const escapee = Number(await owner.says(/^\d+\n/));
  const guard = guardOf(owner.pid);
  await owner.kill();
  await throughout(15_000, () => expect([escapee, guard].filter(isRunning)).toHaveLength(2));
  process.kill(escapee, 'SIGKILL');
  await eventually(() => expect(isRunning(guard)).toBe(false));
});

test('the guard stays small, however many children there were', async () => {
  // No process has such a number.
  const beyond = 1_000_000_000;
  const env = { HOLDFAST_GUARD: GUARD_SCRIPT, PATH: process.env.PATH };
  const guard = spawn('/bin/sh', ['-c', 'eval "$HOLDFAST_GUARD"', 'holdfast-guard', '', 'HOLDFAST_CHILD_test', ''], {
    env,
  });
  const tell = (count: number) => {
    for (let number = 1; number <= count; number++) {
      guard.stdin.write(`+ ${beyond + number}:0:0:9:${number}\n- ${beyond + number}\n`);
    }
  };
  const rss = () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${guard.pid}/status`, 'utf8'))?.[1]);
  /** A lease that has ended tells that all before it was taken. */
  const isThrough = async () => {
    const sleeper = spawn('sleep', ['300'], { detached: true });
    guard.stdin.write(`+ ${sleeper.pid}:0:0:9:0\nl ${sleeper.pid} 0\n`);
    expect(await once(sleeper, 'exit')).toEqual([null, 'SIGKILL']);
    guard.stdin.write(`- ${sleeper.pid}\n`);
  };
  tell(2_000);
  await isThrough();
  const before = rss();
  tell(10_000);
  await isThrough();
  expect(rss() - before).toBeLessThan(500);
  guard.kill('SIGKILL');
  await once(guard, 'close');
});
