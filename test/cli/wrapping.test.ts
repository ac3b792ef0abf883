import { SourceLock } from 'holdfast';
import { beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { fixtureArguments } from '../support/processes.ts';
import { patienceMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { cli, type Running, start } from './support.ts';

const tuner = 'http://192.168.1.20:5004/auto/v5.1';
const other = 'hdhomerun:1234ABC2/v5.1';

let dir = '';
beforeEach(() => {
  dir = temporaryDirectory();
});

describe.each(['kernel', 'flock'] as const)('a command of holdfast run, over %s,', (backend) => {
  const run = (source: string) => ['run', '--source', source, '--dir', dir, '--backend', backend, '--'];

  /** A program that acquires a source by the library. */
  function acquirer(source: string): string[] {
    return [process.execPath, ...fixtureArguments('holder', [{ source, options: { dir, backend } }])];
  }

  async function answerOf(running: Running): Promise<{ acquired: boolean; key: string; fence: string }> {
    const line = await eventually(() => {
      expect(running.stdout()).toContain('\n');
      return running.stdout();
    }, patienceMs(20_000));
    return JSON.parse(line);
  }

  test('that acquires the same source adopts the lock of its wrapper', async () => {
    const running = start([...run(tuner), ...acquirer(tuner)]);
    expect(await answerOf(running)).toMatchObject({ acquired: true, key: `url:${tuner}` });
    expect((await SourceLock.inspect(tuner, { dir, backend }))?.pid).toBe(running.pid);
    running.stdin.end('release\n');
    expect((await running.result).exit).toBe(0);
    await (await SourceLock.acquire(tuner, { dir, backend, onWarning: () => expect.unreachable() })).release();
  });

  test('that acquires another source takes or is refused it like anybody', async () => {
    const first = start([...run(tuner), ...acquirer(other)]);
    expect(await answerOf(first)).toMatchObject({ acquired: true, key: `url:${other}` });
    first.stdin.end('release\n');
    expect((await first.result).exit).toBe(0);
    await using _lock = await SourceLock.acquire(other, { dir, backend });
    const second = start([...run(tuner), ...acquirer(other)]);
    expect(await answerOf(second)).toMatchObject({ acquired: false, holder: { pid: process.pid } });
    expect((await second.result).exit).toBe(0);
  });

  test('that is holdfast run itself adopts the same source', async () => {
    const running = start([...run(tuner), ...cli, ...run(tuner), 'sh', '-c', 'echo "$HOLDFAST_HELD"; exit 9']);
    expect(await running.result).toEqual({ exit: 9, stdout: '60,61\n', stderr: '' });
    await (await SourceLock.acquire(tuner, { dir, backend, onWarning: () => expect.unreachable() })).release();
  });

  test('adopts the same source through any number of wrappers', async () => {
    const inner = [...cli, ...run(tuner), ...cli, ...run(tuner), ...acquirer(tuner)];
    const running = start([...run(tuner), ...inner]);
    expect(await answerOf(running)).toMatchObject({ acquired: true, key: `url:${tuner}` });
    running.stdin.end('release\n');
    expect(await running.result).toMatchObject({ exit: 0, stderr: '' });
    await (await SourceLock.acquire(tuner, { dir, backend, onWarning: () => expect.unreachable() })).release();
  });

  test.each([tuner, other])(
    'that is holdfast run of another source gives both locks on: %s is adopted',
    async (source) => {
      const running = start([...run(tuner), ...cli, ...run(other), ...acquirer(source)]);
      expect(await answerOf(running)).toMatchObject({ acquired: true, key: `url:${source}` });
      running.stdin.end('release\n');
      expect(await running.result).toMatchObject({ exit: 0, stderr: '' });
    },
  );

  test('passes a signal on through all wrappers', async () => {
    const running = start([...run(tuner), ...cli, ...run(other), 'sh', '-c', 'echo ready; exec sleep 60']);
    await eventually(() => expect(running.stdout()).toBe('ready\n'), patienceMs(20_000));
    running.kill('SIGTERM');
    expect((await running.result).exit).toBe('SIGTERM');
    for (const source of [tuner, other]) expect(await SourceLock.inspect(source, { dir, backend })).toBeUndefined();
  });
});

test('a command under a lease has no descriptor of it, and HOLDFAST_HELD of elsewhere is not passed on', async () => {
  const options = [
    '--source',
    tuner,
    '--dir',
    dir,
    '--backend',
    'lease',
    '--',
    'sh',
    '-c',
    'printenv HOLDFAST_HELD || echo none',
  ];
  expect(await start(['run', ...options], { env: { HOLDFAST_HELD: '77' } }).result).toEqual({
    exit: 0,
    stdout: 'none\n',
    stderr: '',
  });
});
