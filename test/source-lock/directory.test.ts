import { linkSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LockDirectoryError, SourceBusyError, SourceLock } from 'holdfast';
import { describe, expect, test, vi } from 'vitest';

import { lockSetting, tuner } from './support.ts';

const { at, busy, dir } = lockSetting('kernel');

describe('the directory', () => {
  test('is made, shared with the group only', async () => {
    const made = join(dir(), 'a/b');
    await (await SourceLock.acquire(tuner, { dir: made })).release();
    expect(statSync(made).mode & 0o777).toBe(0o770);
    expect(statSync(join(dir(), 'a')).mode & 0o777).toBe(0o770);
  });

  test('that can not be used is an error that names it and says what to do', async () => {
    writeFileSync(join(dir(), 'file'), '');
    const error = await SourceLock.acquire(tuner, { dir: join(dir(), 'file') }).catch((e) => e);
    expect(error).toBeInstanceOf(LockDirectoryError);
    expect(error.message).toContain(join(dir(), 'file'));
    expect(error.message).toContain('a file is in its place (EEXIST); move it away');
    expect(error.message).toContain('HOLDFAST_LOCK_DIR');
  });

  test('in which nothing can be made is an error too', async () => {
    await expect(SourceLock.acquire(tuner, { dir: '/proc/nothing/here' })).rejects.toBeInstanceOf(LockDirectoryError);
  });

  test('is not made by looking', async () => {
    vi.stubEnv('HOLDFAST_LOCK_DIR', join(dir(), 'nowhere'));
    expect(await SourceLock.list()).toEqual([]);
    expect(await SourceLock.inspect(tuner)).toBeUndefined();
    vi.unstubAllEnvs();
    expect(readdirSync(dir())).toEqual([]);
    await expect(SourceLock.list({ dir: '' })).rejects.toThrow('dir');
  });

  test('may have anything else in it', async () => {
    symlinkSync('/etc/hostname', join(dir(), 'link.lock'));
    mkdirSync(join(dir(), 'folder.lock'));
    await using lock = await SourceLock.acquire(tuner, at());
    expect((await SourceLock.list({ dir: dir() })).map(({ key }) => key)).toEqual([lock.key]);
  });

  test('of locks of another kind is refused', async () => {
    writeFileSync(join(dir(), 'FORMAT'), 'holdfast-locks 1 flock\n');
    expect(await busy()).toBeInstanceOf(LockDirectoryError);
  });

  test('comes from HOLDFAST_LOCK_DIR if no option is given', async () => {
    vi.stubEnv('HOLDFAST_LOCK_DIR', join(dir(), 'from-env'));
    await using lock = await SourceLock.acquire(tuner);
    vi.unstubAllEnvs();
    expect(lock.path.startsWith(join(dir(), 'from-env'))).toBe(true);
  });

  test('shared by two who lock one archive under different links makes them exclude each other', async () => {
    mkdirSync(join(dir(), 'archive'));
    symlinkSync(join(dir(), 'archive'), join(dir(), 'checkout'));
    writeFileSync(join(dir(), 'recording'), '');
    linkSync(join(dir(), 'recording'), join(dir(), 'other-name'));
    await using _archive = await SourceLock.acquire(join(dir(), 'archive'), at());
    await using _file = await SourceLock.acquire(join(dir(), 'recording'), at());
    expect(await busy(join(dir(), 'checkout'))).toBeInstanceOf(SourceBusyError);
    expect(await busy(join(dir(), 'other-name'))).toBeInstanceOf(SourceBusyError);
  });
});
