import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LockDirectoryError, SourceBusyError, SourceLock } from 'holdfast';
import { beforeEach, describe, expect, test } from 'vitest';
import { startFixture } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { device, tuner } from './support.ts';

let path: string;
beforeEach(() => {
  path = join(temporaryDirectory(), 'tuner.lock');
});

/** A shell script's lock; resolves when it has it. */
async function shellHolder(...args: readonly string[]) {
  const shell = spawn('flock', [...args, path, 'sh', '-c', 'echo held; read line'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(shell.stdout, 'data');
  const end = once(shell, 'exit');
  return {
    pid: shell.pid as number,
    async release() {
      shell.stdin.end();
      await end;
    },
  };
}

const flockExitCode = async () => (await once(spawn('flock', ['-n', path, 'true']), 'exit'))[0];

describe('a lock at a path', () => {
  test('is that very file, with the sidecar beside it and no FORMAT', async () => {
    const lock = await SourceLock.acquire(tuner, { path, command: 'publisher' });
    expect(lock).toMatchObject({ path, key: `url:${tuner}`, keys: [`url:${tuner}`] });
    expect(readdirSync(join(path, '..')).sort()).toEqual(['tuner.lock', 'tuner.lock.meta']);
    expect(JSON.parse(readFileSync(`${path}.meta`, 'utf8'))).toMatchObject({ pid: process.pid, cmd: 'publisher' });
    expect(await SourceLock.inspect(tuner, { path })).toMatchObject({ pid: process.pid, verified: 'kernel+meta' });
    await lock.release();
    expect(existsSync(`${path}.meta`)).toBe(false);
    expect(await SourceLock.inspect(tuner, { path })).toBeUndefined();
  });

  test('excludes flock(1) in a shell script', async () => {
    const lock = await SourceLock.acquire(tuner, { path });
    expect(await flockExitCode()).toBe(1);
    await lock.release();
    expect(await flockExitCode()).toBe(0);
  });

  test('is refused while a shell script has it by flock(1), which is named', async () => {
    const shell = await shellHolder();
    const error = await SourceLock.acquire(tuner, { path }).catch((e) => e);
    expect(error).toBeInstanceOf(SourceBusyError);
    expect(error.holder).toMatchObject({
      pid: shell.pid,
      verified: 'kernel',
      command: expect.stringContaining('flock'),
    });
    expect(await SourceLock.inspect(tuner, { path })).toMatchObject({ pid: shell.pid });
    const waiting = SourceLock.acquire(tuner, { path, timeoutMs: 10_000 });
    await shell.release();
    await using lock = await waiting;
    expect(lock.reclaimedFrom).toBeUndefined();
  });

  test('is refused while a script has it shared', async () => {
    const shell = await shellHolder('-s');
    expect(await SourceLock.tryAcquire(tuner, { path })).toMatchObject({ acquired: false, holder: { pid: shell.pid } });
    await shell.release();
  });

  test('names its own holder, not a script that merely waits', async () => {
    const lock = await SourceLock.acquire(tuner, { path });
    const waiting = spawn('flock', [path, 'true']);
    const held = await SourceLock.tryAcquire(tuner, { path, timeoutMs: 50 });
    expect(held).toMatchObject({ acquired: false, holder: { pid: process.pid, verified: 'kernel+meta' } });
    const end = once(waiting, 'exit');
    await lock.release();
    await end;
  });

  test('is one whatever the source, and wins over dir', async () => {
    const dir = temporaryDirectory();
    await using _lock = await SourceLock.acquire(tuner, { path, dir });
    expect(readdirSync(dir)).toEqual([]);
    expect(await SourceLock.tryAcquire(device, { path, dir })).toMatchObject({ acquired: false });
  });

  test('is followed after its holder was killed', async () => {
    const dead = startFixture('holder', [{ source: tuner, options: { path } }]);
    await dead.next();
    await dead.kill('SIGKILL');
    const warnings: unknown[] = [];
    await using lock = await SourceLock.acquire(tuner, { path, onWarning: (warning) => warnings.push(warning) });
    expect(lock.reclaimedFrom).toMatchObject({ pid: dead.pid });
    expect(warnings).toHaveLength(1);
  });

  test('that a shell script took after its holder was killed is the script’s, not left by that one', async () => {
    const dead = startFixture('holder', [{ source: tuner, options: { path } }]);
    await dead.next();
    await dead.kill('SIGKILL');
    for (const args of [[], ['-s']]) {
      const shell = await shellHolder(...args);
      const { holder } = (await SourceLock.acquire(tuner, { path }).catch((e) => e)) as SourceBusyError;
      expect(holder).toMatchObject({ pid: shell.pid, verified: 'kernel' });
      expect(holder).not.toHaveProperty('orphanOf');
      await shell.release();
    }
    const script = spawn('sh', ['-c', 'exec 9>>"$0"; flock 9; echo held; read line', path]);
    await once(script.stdout, 'data');
    const { holder } = (await SourceLock.acquire(tuner, { path }).catch((e) => e)) as SourceBusyError;
    expect(holder).toMatchObject({ pid: script.pid, verified: 'kernel' });
    expect(holder).not.toHaveProperty('orphanOf');
    script.stdin.end();
    await once(script, 'exit');
  });

  test('keeps the mode of a file that was there', async () => {
    writeFileSync(path, '', { mode: 0o644 });
    await (await SourceLock.acquire(tuner, { path })).release();
    expect(statSync(path).mode & 0o777).toBe(0o644);
  });

  test('in the root of an archive excludes whoever locks that archive from wherever they run', async () => {
    const archive = temporaryDirectory();
    const checkouts = ['a', 'b'].map((name) => join(temporaryDirectory(), name));
    for (const checkout of checkouts) {
      mkdirSync(checkout);
      symlinkSync(archive, join(checkout, 'archive'));
    }
    const [one = '', other = ''] = checkouts.map((checkout) => join(checkout, 'archive'));
    await using _lock = await SourceLock.acquire(one, { path: join(one, '.holdfast.lock') });
    const refused = await SourceLock.tryAcquire(other, { path: join(other, '.holdfast.lock') });
    expect(refused).toMatchObject({ acquired: false, holder: { pid: process.pid } });
    await using _inDirectory = await SourceLock.acquire(one, { dir: join(one, '.locks') });
    expect(await SourceLock.tryAcquire(other, { dir: join(other, '.locks') })).toMatchObject({ acquired: false });
  });
});

describe('a path that can not be a lock', () => {
  test('because something is written there is refused and left as it is', async () => {
    writeFileSync(path, 'root:x:0:0:\n');
    const error = await SourceLock.acquire(tuner, { path }).catch((e) => e);
    expect(error).toBeInstanceOf(LockDirectoryError);
    expect(error.message).toContain(path);
    expect(readFileSync(path, 'utf8')).toBe('root:x:0:0:\n');
    expect(await flockExitCode()).toBe(0);
  });

  test.each([
    ['because its directory is missing', () => join(path, 'below')],
    ['because it is a directory', () => join(path, '..')],
  ])('%s is refused by name', async (_why, where) => {
    const error = await SourceLock.acquire(tuner, { path: where() }).catch((e) => e);
    expect(error).toBeInstanceOf(LockDirectoryError);
    expect(error.message).toMatch(/make it|move it away|correct the path/);
  });

  test.each([
    [[tuner, device], {}, 'path is for one source'],
    [tuner, { backend: 'kernel' }, 'locked by flock'],
    [tuner, { path: '' }, 'path must be a string'],
  ])('for %j with %j is refused', async (source, options, message) => {
    await expect(SourceLock.acquire(source, { path, ...(options as object) })).rejects.toThrow(message);
  });
});
