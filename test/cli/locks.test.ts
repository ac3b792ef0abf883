import { existsSync } from 'node:fs';
import { SourceLock } from 'holdfast';
import { beforeEach, expect, test } from 'vitest';
import { endProcess, startFixture } from '../support/processes.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { holdfast } from './support.ts';

const tuner = 'http://192.168.1.20:5004/auto/v5.1';

let dir = '';
beforeEach(() => {
  dir = temporaryDirectory();
});

test('holdfast locks tells who holds which source, a line each', async () => {
  await using lock = await SourceLock.acquire(tuner, { dir, command: 'reader\n--name x' });
  await using _other = await SourceLock.acquire('hdhomerun:1234ABC2/v5.1', { dir, command: 'writer' });
  const { exit, stdout, stderr } = await holdfast(['locks', '--dir', dir]);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  const [header, ...rows] = stdout.trimEnd().split('\n');
  expect(header).toMatch(/^KEY +PID +SINCE +VERIFIED +TREE +COMMAND$/);
  expect(rows.map((row) => row.split(/ {2,}/)).sort()).toEqual([
    [
      'url:hdhomerun:1234ABC2/v5.1',
      String(process.pid),
      expect.stringMatching(/^\d{4}-.*Z$/),
      'kernel+meta',
      '-',
      'writer',
    ],
    [lock.key, String(process.pid), expect.stringMatching(/^\d{4}-.*Z$/), 'kernel+meta', '-', 'reader\\n--name x'],
  ]);
});

test('holdfast locks names an orphan and the children that hold', async () => {
  const stubborn = "trap '' TERM; echo; while :; do sleep 0.1; done";
  // It outlives its owner for as long as the command line may take to start.
  const holder = startFixture('holder', [
    { source: tuner, options: { dir }, child: stubborn, graceMs: patienceMs(20_000) },
  ]);
  const { child } = await holder.next();
  expect((await holdfast(['locks', '--dir', dir])).stdout).toMatch(new RegExp(` ${holder.pid} .* with ${child} `));
  await holder.kill('SIGKILL');
  expect((await holdfast(['locks', '--dir', dir])).stdout).toMatch(new RegExp(` ${child} .* orphan of ${holder.pid} `));
  await endProcess(child);
  await (await SourceLock.acquire(tuner, { dir, timeoutMs: promisedMs(5_000), onWarning: () => {} })).release();
});

test('holdfast locks --json is a list of holders, empty where there is none', async () => {
  expect(await holdfast(['locks', '--dir', dir, '--json'])).toEqual({ exit: 0, stdout: '[]\n', stderr: '' });
  await using _lock = await SourceLock.acquire(tuner, { dir });
  const { stdout } = await holdfast(['locks', '--json'], { env: { HOLDFAST_LOCK_DIR: dir } });
  expect(JSON.parse(stdout)).toEqual(await SourceLock.list({ dir }));
});

test('holdfast locks says that no lock is held, also where there is no directory', async () => {
  const { stderr, ...rest } = await holdfast(['locks', '--dir', dir]);
  expect(rest).toEqual({ exit: 0, stdout: '' });
  expect(stderr).toBe(`holdfast: no lock is held in ${dir}\n`);
  const missing = await holdfast(['locks', '--dir', `${dir}/missing`]);
  expect(missing.stderr).toBe(`holdfast: no lock is held in ${dir}/missing, which does not exist\n`);
});

test.runIf(existsSync('/dev/full'))('holdfast locks tells that its output could not be written', async () => {
  const wrapper = ['sh', '-c', 'exec "$0" "$@" > /dev/full'];
  const { exit, stderr } = await holdfast(['locks', '--dir', dir, '--json'], { wrapper });
  expect({ exit, stderr }).toEqual({ exit: 1, stderr: "holdfast: can't write to stdout: ENOSPC\n" });
});

test('holdfast locks tells why it can not look, with exit code 1', async () => {
  const { exit, stdout, stderr } = await holdfast(['locks', '--dir', '/etc/passwd']);
  expect({ exit, stdout }).toEqual({ exit: 1, stdout: '' });
  expect(stderr).toMatch(/^holdfast: the lock directory \/etc\/passwd can't be used.*\n$/);
});
