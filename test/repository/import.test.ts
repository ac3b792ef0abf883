import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

const hook = new URL('../../scripts/from-source.mjs', import.meta.url).pathname;

test('importing the package starts nothing: no handler, timer, process, file or binary', () => {
  const program = `
    const before = process.listenerCount.bind(process);
    const signals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'exit', 'beforeExit', 'uncaughtException'];
    const count = () => signals.map((name) => process.listenerCount(name)).join();
    const was = count();
    await import('holdfast');
    await import('holdfast/prometheus');
    const binaries = process.report.getReport().sharedObjects.filter((path) => path.includes('fs-native-extensions'));
    console.log(JSON.stringify([was === count(), process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap'), binaries]));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ['--import', hook, '--input-type=module', '-e', program], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual([true, [], []]);
});
