import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SourceLock } from 'holdfast';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Check } from '../../src/cli/check.ts';
import { hasNamespaces, withMounts } from '../support/namespace.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { asNobody, holdfast, isRoot, type Means } from './support.ts';

let dir = '';
let ffmpeg = '';
beforeEach(() => {
  dir = temporaryDirectory();
  ffmpeg = join(dir, 'my-ffmpeg');
  writeFileSync(ffmpeg, '#!/bin/sh\necho ffmpeg version 7.1-test Copyright\n');
  chmodSync(ffmpeg, 0o755);
  chmodSync(dir, 0o755);
});

interface Diagnosis {
  readonly exit: number | NodeJS.Signals;
  readonly state: string;
  readonly checks: Readonly<Record<string, Check>>;
}

async function diagnose(args: readonly string[] = [], { env, ...means }: Means = {}): Promise<Diagnosis> {
  const { exit, stdout, stderr } = await holdfast(['doctor', '--json', ...args], {
    ...means,
    env: { FFMPEG_PATH: ffmpeg, ...env },
  });
  expect(stderr).toBe('');
  const { state, checks } = JSON.parse(stdout);
  return { exit, state, checks: Object.fromEntries(checks.map((check: Check) => [check.name, check])) };
}

test('holdfast doctor looks at all that is needed, and leaves nothing behind', async () => {
  const before = readdirSync(dir);
  const { exit, checks } = await diagnose(['--dir', join(dir, 'not/yet')]);
  expect(exit).toBe(0);
  expect(Object.keys(checks)).toEqual([
    'system',
    'node',
    '/bin/sh',
    '/proc',
    'cgroup',
    'open files',
    'ffmpeg',
    'locks',
    'file system',
    'backend',
  ]);
  expect(checks).toMatchObject({
    system: { state: 'ok', found: expect.stringMatching(/^linux /) },
    node: { state: 'ok', found: process.version },
    '/bin/sh': { state: 'ok', found: expect.stringMatching(/^\//) },
    ffmpeg: { state: 'ok', found: `${ffmpeg}, version 7.1-test` },
    locks: { state: 'ok', found: `${join(dir, 'not/yet')}, which the first lock will make` },
    'file system': { state: 'ok', found: 'local' },
    backend: { state: 'ok', found: expect.stringMatching(/^kernel; flock\(1\) is \//) },
  });
  expect(readdirSync(dir)).toEqual(before);
});

test('holdfast doctor says the same to people, a line each', async () => {
  const { exit, stdout, stderr } = await holdfast(['doctor', '--dir', dir], { env: { FFMPEG_PATH: '/nowhere' } });
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  expect(stdout).toMatch(/^ok +node +v/m);
  expect(stdout).toMatch(/^degraded +ffmpeg +\/nowhere is no executable file\n +→ correct FFMPEG_PATH$/m);
});

test('a missing ffmpeg is degraded, not broken', async () => {
  const path = temporaryDirectory();
  const { exit, checks } = await diagnose(['--dir', dir], { env: { FFMPEG_PATH: '', PATH: path } });
  expect(exit).toBe(0);
  expect(checks.ffmpeg).toMatchObject({ state: 'degraded', found: expect.stringContaining('not on the PATH') });
  expect(checks.backend?.found).toBe('kernel; no flock(1), so no --lock-file');
});

describe('the lock directory', () => {
  test('that is a file is broken, with exit code 1', async () => {
    const { exit, state, checks } = await diagnose(['--dir', ffmpeg]);
    expect({ exit, state }).toEqual({ exit: 1, state: 'broken' });
    expect(checks.locks).toMatchObject({ state: 'broken', found: `${ffmpeg} is no directory` });
  });

  test.skipIf(!isRoot)('that this user may not write is broken', async () => {
    const { exit, checks } = await diagnose(['--dir', join(dir, 'locks')], { wrapper: asNobody });
    expect(exit).toBe(1);
    expect(checks.locks).toMatchObject({ state: 'broken', found: `${dir} may not be written by this user` });
  });

  test('that is in use for another kind of lock is broken', async () => {
    await (await SourceLock.acquire('http://h/', { dir, backend: 'flock' })).release();
    const { exit, checks } = await diagnose(['--dir', dir]);
    expect(exit).toBe(1);
    expect(checks.format).toMatchObject({ state: 'broken', advice: 'use --backend flock, or another directory' });
  });

  test.skipIf(!isRoot)('that is of one user only is degraded, and is not made', async () => {
    const env = { TMPDIR: dir, XDG_RUNTIME_DIR: '', HOLDFAST_LOCK_DIR: '' };
    chmodSync(dir, 0o777);
    const wrapper = existsSync('/run/holdfast')
      ? [...withMounts('mount -t tmpfs -o mode=755 none /run'), ...asNobody]
      : asNobody;
    const { exit, checks } = await diagnose([], { wrapper, env });
    expect(exit).toBe(0);
    expect(checks.locks).toMatchObject({ state: 'degraded', found: expect.stringContaining('other users are not') });
    expect(checks.locks?.found).toContain(join(dir, 'holdfast-65534/locks'));
    expect(readdirSync(dir)).toEqual(['my-ffmpeg']);
  });
});

describe('where the addon for kernel locks does not load', () => {
  const hook = `import { registerHooks } from 'node:module';
    registerHooks({ resolve(name, context, next) {
      if (name === 'fs-native-extensions') throw new Error('no build');
      return next(name, context);
    } });`;
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(hook)}`;

  test('flock is taken, which is degraded', async () => {
    const { exit, checks } = await diagnose(['--dir', dir], { env: { NODE_OPTIONS } });
    expect(exit).toBe(0);
    expect(checks.backend).toMatchObject({ state: 'degraded', found: expect.stringMatching(/^flock; flock\(1\) is/) });
  });

  test('and there is no flock, it is broken', async () => {
    const { exit, checks } = await diagnose(['--dir', dir], { env: { NODE_OPTIONS, PATH: temporaryDirectory() } });
    expect(exit).toBe(1);
    expect(checks.backend).toMatchObject({ state: 'broken', advice: expect.stringContaining('util-linux') });
  });
});

describe.skipIf(!hasNamespaces())('in a sandbox', () => {
  test('that hides /proc/locks, /proc is degraded', async () => {
    const wrapper = withMounts('mount --bind /dev/null /proc/locks');
    const { checks } = await diagnose(['--dir', dir], { wrapper });
    expect(checks['/proc']).toMatchObject({ state: 'degraded', found: '/proc/locks can not be read' });
  });

  test('whose /proc hides the processes of others, it is degraded', async () => {
    const wrapper = [...withMounts('mount -t proc -o hidepid=2 proc /proc'), ...asNobody];
    const { checks } = await diagnose(['--dir', dir], { wrapper });
    expect(checks['/proc']).toMatchObject({ state: 'degraded', found: expect.stringMatching(/hidepid=(2|invisible)/) });
  });

  test('without /bin/sh it is broken', async () => {
    const wrapper = withMounts('mount --bind /dev/null /bin/sh');
    const { exit, checks } = await diagnose(['--dir', dir], { wrapper });
    expect(exit).toBe(1);
    expect(checks['/bin/sh']).toMatchObject({ state: 'broken', advice: expect.stringContaining('POSIX shell') });
  });

  test('with few open files it is degraded', async () => {
    const wrapper = ['sh', '-c', 'ulimit -n 200; exec "$0" "$@"'];
    const { checks } = await diagnose(['--dir', dir], { wrapper });
    expect(checks['open files']).toMatchObject({ state: 'degraded', found: '200 at most' });
  });
});
