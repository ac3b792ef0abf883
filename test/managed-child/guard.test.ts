import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { childrenOf, isRunning, startFixture } from '../support/processes.ts';

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
