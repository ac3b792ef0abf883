import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { hasNamespaces, pidNamespace } from '../support/namespace.ts';
import { childrenOf, isRunning } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { holdfast, start } from './support.ts';

// Of its own, since the sweep ends all orphans that it can see.
test.skipIf(!hasNamespaces())('holdfast orphans lists what was left, and --kill ends it', async () => {
  const namespace = await pidNamespace();
  onTestFinished(() => namespace.end());
  const { wrapper } = namespace;
  expect(await holdfast(['orphans'], { wrapper })).toEqual({ exit: 0, stdout: '', stderr: 'holdfast: no orphans\n' });
  expect((await holdfast(['orphans', '--json'], { wrapper })).stdout).toBe('[]\n');

  const silently = 'exec sleep 300 > /dev/null 2>&1'; // so that its output does not wait for what is left
  const owner = start(['run', '--source', 'http://h/', '--dir', temporaryDirectory(), '--', 'sh', '-c', silently], {
    wrapper,
  });
  const [pid, sleeping] = await eventually(() => {
    const inner = childrenOf(owner.pid)[0]?.pid ?? 0;
    const child = childrenOf(inner).find(({ command }) => command.startsWith('sleep 300'));
    expect(child).toBeDefined();
    return [inner, child?.pid as number];
  }, patienceMs(20_000));
  // Stopped, it can not replace its guard.
  process.kill(pid, 'SIGSTOP');
  const guards = childrenOf(pid).filter((child) => child.pid !== sleeping);
  for (const guard of guards) process.kill(guard.pid, 'SIGKILL');
  process.kill(pid, 'SIGKILL');
  owner.kill('SIGCONT'); // nsenter had stopped too
  await owner.result;
  expect(isRunning(sleeping)).toBe(true);

  const listed = await holdfast(['orphans'], { wrapper });
  expect(listed).toMatchObject({ exit: 0, stderr: '' });
  expect(listed.stdout).toMatch(/^PID +OWNER +SINCE +STATE +COMMAND\n\d+ +\d+ +\d{4}-\S+Z +running +sleep 300\n$/);
  expect(isRunning(sleeping)).toBe(true);
  const ended = await holdfast(['orphans', '--kill', '--json'], { wrapper });
  expect(ended.exit).toBe(0);
  expect(JSON.parse(ended.stdout)).toMatchObject([{ command: 'sleep 300', ended: true }]);
  expect(isRunning(sleeping)).toBe(false);
  expect((await holdfast(['orphans', '--json'], { wrapper })).stdout).toBe('[]\n');
});
