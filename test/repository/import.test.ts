import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../support/temporary.ts';

const hook = new URL('../../scripts/from-source.mjs', import.meta.url).pathname;

/** What a program says that runs in a process of its own, with nothing loaded. */
function run(program: string): unknown {
  const signals = "[...Object.keys(os.constants.signals), 'exit', 'beforeExit', 'uncaughtException']";
  const text = `import os from 'node:os';
    const listeners = () => ${signals}.map((name) => process.listenerCount(name)).join() + process.emit + process.reallyExit;
    ${program}`;
  const args = ['--import', hook, '--input-type=module', '-e', text, temporaryDirectory()];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

test('importing the package starts nothing: no handler, timer, process, file or binary', () => {
  const answer = run(`
    const was = listeners();
    await import('holdfast');
    await import('holdfast/prometheus');
    const binaries = process.report.getReport().sharedObjects.filter((path) => path.includes('fs-native-extensions'));
    console.log(JSON.stringify([was === listeners(), process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap'), binaries]));
  `);
  expect(answer).toEqual([true, [], []]);
});

test('importing the package does not load the HTTP of Node', () => {
  const loaded = "process.moduleLoadList.filter((name) => name === 'NativeModule http')";
  expect(run(`await import('holdfast'); console.log(JSON.stringify(${loaded}));`)).toEqual([]);
  expect(run(`await import('node:http'); console.log(JSON.stringify(${loaded}));`)).toEqual(['NativeModule http']);
});

test.each(['kernel', 'flock'])(
  'a lock of the backend %s installs no handler either, nor loads what would',
  (backend) => {
    const answer = run(`
    const was = listeners();
    const { ManagedChild, SourceLock } = await import('holdfast');
    const holds = await SourceLock.acquire('hdhomerun:1234ABC2/v5.1', { dir: process.argv[1], backend: '${backend}' });
    const child = await ManagedChild.spawn('true', [], { holds });
    await child.closed;
    const isSame = was === listeners();
    await holds.release();
    console.log(JSON.stringify([isSame, process.__signal_exit_emitter__ !== undefined]));
  `);
    expect(answer).toEqual([true, false]);
  },
);
