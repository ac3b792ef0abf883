import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  ClosedError,
  LockDirectoryError,
  LockInUseError,
  LockLostError,
  ManagedChild,
  SourceBusyError,
  SourceLock,
} from 'holdfast';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { fixtureArguments, isRunning, locksOf, openDescriptors, startFixture } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const tuner = 'http://192.168.1.20:5004/auto/v5.1';
const device = 'hdhomerun:1234ABC2/v5.1';

let dir: string;
beforeEach(() => {
  dir = temporaryDirectory();
});

const holder = (request: object = {}) => startFixture('holder', [{ source: tuner, options: { dir }, ...request }]);
const busy = (source: string | string[] = tuner) => SourceLock.acquire(source, { dir }).catch((error) => error);

describe('a source that is held', () => {
  test('is refused to the same process, with its own name', async () => {
    await using lock = await SourceLock.acquire(tuner, { dir, command: 'the first' });
    const error = await busy();
    expect(error).toBeInstanceOf(SourceBusyError);
    expect(error).toMatchObject({ code: 'HOLDFAST_SOURCE_BUSY', retryable: true, key: lock.key });
    expect(error.holder).toMatchObject({ pid: process.pid, command: 'the first', verified: 'kernel+meta' });
  });

  test('is refused to another process, which learns pid, host, since when and command', async () => {
    const before = Date.now();
    const other = holder({ options: { dir, command: 'ffmpeg -i http://joe:secret@tuner/' } });
    await other.next();
    const { holder: named, message } = await busy();
    expect(named).toMatchObject({ pid: other.pid, host: hostname(), command: 'ffmpeg -i http://***@tuner/' });
    expect(Date.parse(named.startedAt)).toBeGreaterThanOrEqual(before);
    expect(named.startedAt).toMatch(/Z$/);
    expect(message).toContain(`pid ${other.pid} on ${hostname()} since ${named.startedAt}`);
    await other.kill();
  });

  test('stays held while its holder is stopped', async () => {
    const other = holder();
    await other.next();
    other.process.kill('SIGSTOP');
    expect((await busy()).holder.pid).toBe(other.pid);
    await other.kill();
  });

  test('is refused by any spelling of its identity', async () => {
    await using _lock = await SourceLock.acquire('HTTP://joe:pw@192.168.1.20.:5004/auto/v5.1#now', { dir });
    expect(await busy()).toBeInstanceOf(SourceBusyError);
    expect(await SourceLock.tryAcquire(new URL(tuner), { dir })).toMatchObject({ acquired: false });
  });

  test('is free at the next try after its holder was killed, which is told once', async () => {
    const other = holder({ options: { dir, command: 'the dead' } });
    await other.next();
    await other.kill('SIGKILL');
    const warnings: unknown[] = [];
    const onWarning = (warning: unknown) => warnings.push(warning);
    const lock = await SourceLock.acquire(tuner, { dir, onWarning });
    expect(lock.reclaimedFrom).toMatchObject({ pid: other.pid, command: 'the dead' });
    expect(warnings).toMatchObject([{ code: 'DEAD_HOLDER', key: lock.key, holder: { pid: other.pid } }]);
    await lock.release();
    await (await SourceLock.acquire(tuner, { dir, onWarning })).release();
    expect(warnings).toHaveLength(1);
  });

  test('is free at once after a release, without a warning', async () => {
    const other = holder();
    await other.next();
    other.process.stdin?.write('release\n');
    expect(await other.next()).toBe('released');
    await using lock = await SourceLock.acquire(tuner, { dir, onWarning: () => expect.unreachable() });
    expect(lock.reclaimedFrom).toBeUndefined();
    await other.kill();
  });

  test('is named from the kernel while its sidecar is not there', async () => {
    const other = holder();
    const { path } = await other.next();
    rmSync(`${path}.meta`);
    expect((await busy()).holder).toMatchObject({ pid: other.pid, verified: 'kernel' });
    writeFileSync(`${path}.meta`, '{"pid": 1, "tok');
    expect((await busy()).holder).toMatchObject({ pid: other.pid, verified: 'kernel' });
    await other.kill();
  });
});

describe('refusals under contention', () => {
  test('name none but the holder, and a process that merely looks at the file is no holder', async () => {
    const other = holder();
    const { path } = await other.next();
    const looking = openSync(path, 'r');
    const names = await Promise.all(Array.from({ length: 50 }, async () => (await busy()).holder));
    closeSync(looking);
    for (const name of names) expect(name).toMatchObject({ pid: other.pid });
    for (const name of names) expect(name.orphanOf).toBeUndefined();
    await other.kill();
  });
});

describe('waiting', () => {
  test('ends with the lock when the holder lets go', async () => {
    const first = await SourceLock.acquire(tuner, { dir });
    const second = SourceLock.acquire(tuner, { dir, timeoutMs: 5_000 });
    await first.release();
    await (await second).release();
  });

  test('ends with SourceBusyError after timeoutMs', async () => {
    await using _lock = await SourceLock.acquire(tuner, { dir });
    const before = performance.now();
    await expect(SourceLock.acquire(tuner, { dir, timeoutMs: 120 })).rejects.toBeInstanceOf(SourceBusyError);
    expect(performance.now() - before).toBeGreaterThanOrEqual(119);
  });

  test('ends with the reason of an abort, and nothing is held', async () => {
    const first = await SourceLock.acquire(tuner, { dir });
    const abort = new AbortController();
    const reason = new Error('viewer left');
    const second = SourceLock.acquire([tuner, device], { dir, timeoutMs: 60_000, signal: abort.signal });
    abort.abort(reason);
    await expect(second).rejects.toBe(reason);
    await first.release();
    await (await SourceLock.acquire([tuner, device], { dir })).release();
  });
});

describe('several identities of one source', () => {
  test('are all held, in sorted order, and named by the first given', async () => {
    await using lock = await SourceLock.acquire([tuner, device, tuner], { dir });
    expect(lock.key).toBe(`url:${tuner}`);
    expect(lock.keys).toEqual([`url:${device}`, `url:${tuner}`]);
    expect(await busy(device)).toBeInstanceOf(SourceBusyError);
    expect(await busy(tuner)).toBeInstanceOf(SourceBusyError);
  });

  test('that could not all be had leave the death of a holder to be told to the next', async () => {
    const dead = holder({ source: device });
    await dead.next();
    await dead.kill('SIGKILL');
    const living = await SourceLock.acquire(tuner, { dir });
    expect(await busy([device, tuner])).toMatchObject({ key: `url:${tuner}` });
    await living.release();
    const warnings: unknown[] = [];
    await using _lock = await SourceLock.acquire([device, tuner], {
      dir,
      onWarning: (warning) => warnings.push(warning),
    });
    expect(warnings).toMatchObject([{ code: 'DEAD_HOLDER', holder: { pid: dead.pid } }]);
  });

  test('are held all or none', async () => {
    await using _lock = await SourceLock.acquire(tuner, { dir });
    expect(await busy([device, tuner])).toMatchObject({ key: `url:${tuner}` });
    await (await SourceLock.acquire(device, { dir })).release();
  });
});

describe('the files', () => {
  test('tell what is locked and by whom, for people', async () => {
    const lock = await SourceLock.acquire('http://u:hunter2@tuner/auto/v5.1?token=hunter2&b=2&a=1', { dir });
    expect(basename(lock.path)).toMatch(/^http-tuner-auto-v5\.1-a-1-b-2-[0-9a-f]{16}\.lock$/);
    const meta = JSON.parse(readFileSync(`${lock.path}.meta`, 'utf8'));
    expect(meta).toMatchObject({ pid: process.pid, host: hostname(), key: 'url:http://tuner/auto/v5.1?a=1&b=2' });
    expect(meta).toMatchObject({
      started: expect.stringMatching(/Z$/),
      cmd: expect.any(String),
      token: expect.any(String),
    });
    for (const name of readdirSync(dir)) expect(readFileSync(join(dir, name), 'utf8')).not.toContain('hunter2');
    expect(statSync(lock.path).mode & 0o777).toBe(0o660);
    await lock.release();
    expect(existsSync(`${lock.path}.meta`)).toBe(false);
    expect(existsSync(lock.path)).toBe(true);
  });

  test('leave the fence growing after a crash and when the clock was set back', async () => {
    const first = await SourceLock.acquire(tuner, { dir });
    await first.release();
    const future = 9_999_999_999_999_999n;
    writeFileSync(first.path, `${future}\n`);
    const second = await SourceLock.acquire(tuner, { dir });
    expect(first.fence).toBeLessThan(second.fence);
    expect(second.fence).toBe(future + 1n);
    await second.release();
    await using third = await SourceLock.acquire(tuner, { dir });
    expect(third.fence).toBe(future + 2n);
  });

  test('left by a holder that had let go are no death, left by one that had not are', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    const meta = JSON.parse(readFileSync(`${lock.path}.meta`, 'utf8'));
    await lock.release();
    writeFileSync(`${lock.path}.meta`, JSON.stringify({ ...meta, released: meta.started }));
    const second = await SourceLock.acquire(tuner, { dir, onWarning: () => expect.unreachable() });
    await second.release();
    expect(second.reclaimedFrom).toBeUndefined();
    writeFileSync(`${lock.path}.meta`, JSON.stringify(meta));
    await using third = await SourceLock.acquire(tuner, { dir, onWarning: () => {} });
    expect(third.reclaimedFrom).toMatchObject({ pid: process.pid, startedAt: meta.started });
  });

  test('are never followed: a link in place of the lock file is refused', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    await lock.release();
    rmSync(lock.path);
    symlinkSync('/etc/hostname', lock.path);
    expect(await busy()).toBeInstanceOf(LockDirectoryError);
  });

  test('that are replaced under a holder abort its signal', async () => {
    vi.useFakeTimers();
    try {
      const lock = await SourceLock.acquire(tuner, { dir });
      renameSync(lock.path, `${lock.path}.moved`);
      writeFileSync(lock.path, '');
      await vi.advanceTimersByTimeAsync(5_000);
      expect(lock.signal.reason).toBeInstanceOf(LockLostError);
      await lock.release();
    } finally {
      vi.useRealTimers();
    }
  });

  test('that are removed under a living holder leave the source to it', async () => {
    const lock = await SourceLock.acquire(tuner, { dir, command: 'the first' });
    rmSync(lock.path);
    const error = await busy();
    expect(error).toBeInstanceOf(SourceBusyError);
    expect(error.holder).toMatchObject({ pid: process.pid, command: 'the first', verified: 'meta' });
    expect(await SourceLock.inspect(tuner, { dir })).toMatchObject({ command: 'the first' });
    await lock.release();
    await (await SourceLock.acquire(tuner, { dir, onWarning: () => expect.unreachable() })).release();
  });

  test('are not written through a link that waits at the name of the sidecar', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    await lock.release();
    writeFileSync(join(dir, 'victim'), 'untouched');
    symlinkSync(join(dir, 'victim'), `${lock.path}.meta.tmp`);
    await using _again = await SourceLock.acquire(tuner, { dir });
    expect(readFileSync(join(dir, 'victim'), 'utf8')).toBe('untouched');
  });

  test('can be shared by a group whatever the umask of the first user is', async () => {
    const umask = process.umask(0o077);
    try {
      const made = join(dir, 'made');
      await using lock = await SourceLock.acquire(tuner, { dir: made });
      for (const path of [lock.path, `${lock.path}.meta`, join(made, 'FORMAT')])
        expect(statSync(path).mode & 0o777).toBe(0o660);
    } finally {
      process.umask(umask);
    }
  });

  test('that can no longer be written do not keep the lock, nor end the process', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    const child = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
    mkdirSync(`${lock.path}.meta.tmp`);
    const second = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
    expect(await child.terminate()).toMatchObject({ reason: 'terminated' });
    expect(await second.terminate()).toMatchObject({ reason: 'terminated' });
    await lock.release({ timeoutMs: 1_000 });
    rmSync(`${lock.path}.meta.tmp`, { recursive: true });
    await (await SourceLock.acquire(tuner, { dir, onWarning: () => {} })).release();
  });

  test('are back at no open descriptor after 100 tenures', async () => {
    await (await SourceLock.acquire(tuner, { dir })).release();
    const before = openDescriptors();
    for (let round = 0; round < 100; round++) await (await SourceLock.acquire([tuner, device], { dir })).release();
    expect(openDescriptors()).toBe(before);
  });
});

describe('the directory', () => {
  test('is made, shared with the group only', async () => {
    const made = join(dir, 'a/b');
    await (await SourceLock.acquire(tuner, { dir: made })).release();
    expect(statSync(made).mode & 0o777).toBe(0o770);
    expect(statSync(join(dir, 'a')).mode & 0o777).toBe(0o770);
  });

  test('that can not be used is an error that names it and says what to do', async () => {
    writeFileSync(join(dir, 'file'), '');
    const error = await SourceLock.acquire(tuner, { dir: join(dir, 'file') }).catch((e) => e);
    expect(error).toBeInstanceOf(LockDirectoryError);
    expect(error.message).toContain(join(dir, 'file'));
    expect(error.message).toContain('HOLDFAST_LOCK_DIR');
  });

  test('in which nothing can be made is an error too', async () => {
    await expect(SourceLock.acquire(tuner, { dir: '/proc/nothing/here' })).rejects.toBeInstanceOf(LockDirectoryError);
  });

  test('is not made by looking', async () => {
    vi.stubEnv('HOLDFAST_LOCK_DIR', join(dir, 'nowhere'));
    expect(await SourceLock.list()).toEqual([]);
    expect(await SourceLock.inspect(tuner)).toBeUndefined();
    vi.unstubAllEnvs();
    expect(readdirSync(dir)).toEqual([]);
    await expect(SourceLock.list({ dir: '' })).rejects.toThrow('dir');
  });

  test('may have anything else in it', async () => {
    symlinkSync('/etc/hostname', join(dir, 'link.lock'));
    mkdirSync(join(dir, 'folder.lock'));
    await using lock = await SourceLock.acquire(tuner, { dir });
    expect((await SourceLock.list({ dir })).map(({ key }) => key)).toEqual([lock.key]);
  });

  test('of locks of another kind is refused', async () => {
    writeFileSync(join(dir, 'FORMAT'), 'holdfast-locks 1 flock\n');
    expect(await busy()).toBeInstanceOf(LockDirectoryError);
  });

  test('comes from HOLDFAST_LOCK_DIR if no option is given', async () => {
    vi.stubEnv('HOLDFAST_LOCK_DIR', join(dir, 'from-env'));
    await using lock = await SourceLock.acquire(tuner);
    vi.unstubAllEnvs();
    expect(lock.path.startsWith(join(dir, 'from-env'))).toBe(true);
  });

  test('shared by two who lock one archive under different links makes them exclude each other', async () => {
    mkdirSync(join(dir, 'archive'));
    symlinkSync(join(dir, 'archive'), join(dir, 'checkout'));
    writeFileSync(join(dir, 'recording'), '');
    linkSync(join(dir, 'recording'), join(dir, 'other-name'));
    await using _archive = await SourceLock.acquire(join(dir, 'archive'), { dir });
    await using _file = await SourceLock.acquire(join(dir, 'recording'), { dir });
    expect(await busy(join(dir, 'checkout'))).toBeInstanceOf(SourceBusyError);
    expect(await busy(join(dir, 'other-name'))).toBeInstanceOf(SourceBusyError);
  });
});

describe('a file', () => {
  test('is one source before and after it is made, and when it is removed', async () => {
    const file = join(dir, 'recording.ts');
    const before = await SourceLock.acquire(file, { dir });
    writeFileSync(file, '');
    expect(await busy(file)).toBeInstanceOf(SourceBusyError);
    await before.release();
    await using after = await SourceLock.acquire(file, { dir });
    expect(after.keys).toEqual([after.key]);
    rmSync(file);
    expect(await busy(file)).toBeInstanceOf(SourceBusyError);
  });
});

describe('inspect and list', () => {
  test('name the holder, also while many look at once, and nobody when it is free', async () => {
    expect(await SourceLock.inspect(tuner, { dir })).toBeUndefined();
    const other = holder({ source: [tuner, device] });
    await other.next();
    const looks = await Promise.all(Array.from({ length: 50 }, () => SourceLock.inspect(tuner, { dir })));
    for (const look of looks) expect(look).toMatchObject({ pid: other.pid, verified: 'kernel+meta' });
    expect((await SourceLock.list({ dir })).map(({ key }) => key).sort()).toEqual([`url:${device}`, `url:${tuner}`]);
    await other.kill('SIGKILL');
    expect(await SourceLock.inspect(tuner, { dir })).toBeUndefined();
    expect(await SourceLock.list({ dir })).toEqual([]);
    expect(await SourceLock.list({ dir: join(dir, 'nowhere') })).toEqual([]);
  });
});

describe('a child that holds', () => {
  const stubborn = "trap '' TERM; echo; while :; do sleep 0.1; done";

  test('keeps the lock when its owner is killed, and is named as its orphan', async () => {
    const other = holder({ child: stubborn });
    const { child } = await other.next();
    await other.kill('SIGKILL');
    const error = await busy();
    expect(error.holder).toMatchObject({ pid: child, orphanOf: other.pid, children: [child] });
    expect(error.message).toContain(`left behind by dead process ${other.pid}`);
    await using lock = await SourceLock.acquire(tuner, { dir, timeoutMs: 5_000, onWarning: () => {} });
    expect(isRunning(child)).toBe(false);
    expect(lock.reclaimedFrom?.pid).toBe(other.pid);
  });

  test('makes release wait, then LockInUseError: the lock is kept and nothing killed', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    const child = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
    const error = await lock.release({ timeoutMs: 60 }).catch((e) => e);
    expect(error).toBeInstanceOf(LockInUseError);
    expect(error.message).toContain(String(child.pid));
    expect(isRunning(child.pid)).toBe(true);
    expect((await busy()).holder).toMatchObject({ pid: process.pid, children: [child.pid] });
    await child.terminate();
    await lock.release();
    await (await SourceLock.acquire(tuner, { dir, onWarning: () => expect.unreachable() })).release();
  });

  test('is ended by the disposal of the lock', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    const child = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
    await lock[Symbol.asyncDispose]();
    expect(isRunning(child.pid)).toBe(false);
    await (await SourceLock.acquire(tuner, { dir })).release();
  });

  test('ends when the lock is lost, reason lock-lost', async () => {
    vi.useFakeTimers({ toFake: ['setInterval'] });
    try {
      const lock = await SourceLock.acquire(tuner, { dir });
      const child = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
      rmSync(lock.path);
      vi.advanceTimersByTime(5_000);
      expect(await child.closed).toMatchObject({ reason: 'lock-lost' });
      await lock.release();
    } finally {
      vi.useRealTimers();
    }
  });

  test('that closes descriptor 3 as shells do still holds', async () => {
    const other = holder({ child: `exec 3>&-; ${stubborn}` });
    const { child } = await other.next();
    await other.kill('SIGKILL');
    expect((await busy()).holder).toMatchObject({ pid: child });
    await (await SourceLock.acquire(tuner, { dir, timeoutMs: 5_000, onWarning: () => {} })).release();
  });

  test('of its child that left the tree unseen keeps the lock after release', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    const child = await ManagedChild.spawn('sh', ['-c', 'setsid sh -c "echo \\$\\$; exec sleep 300" & sleep 0.1'], {
      holds: lock,
    });
    const escaped = Number(await new Promise((resolve) => child.stdout?.once('data', resolve)));
    const looking = openSync(lock.path, 'r');
    const bystander = spawn('sleep', ['300'], { stdio: ['ignore', 'ignore', 'ignore', looking] });
    closeSync(looking);
    try {
      await child.closed;
      const error = await lock.release({ timeoutMs: 100 }).catch((e) => e);
      expect(error).toBeInstanceOf(LockInUseError);
      expect(error.children).toEqual([escaped]);
      expect((await busy()).holder).toMatchObject({ pid: escaped, orphanOf: process.pid });
    } finally {
      process.kill(escaped, 'SIGKILL');
      bystander.kill('SIGKILL');
    }
    await lock.release();
    await (await SourceLock.acquire(tuner, { dir })).release();
  });

  test('is ended by a disposal that comes while it is being started', async () => {
    for (let turns = 0; turns < 6; turns++) {
      const lock = await SourceLock.acquire(tuner, { dir });
      const starting = ManagedChild.spawn('sleep', ['300'], { holds: lock }).catch(() => undefined);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      await lock[Symbol.asyncDispose]();
      const child = await starting;
      expect(child && isRunning(child.pid)).toBeFalsy();
    }
  });

  test('of several locks of which one was released starts nothing and keeps none', async () => {
    const released = await SourceLock.acquire(device, { dir });
    const lock = await SourceLock.acquire(tuner, { dir });
    await released.release();
    await expect(ManagedChild.spawn('sleep', ['300'], { holds: [lock, released] })).rejects.toBeInstanceOf(ClosedError);
    await lock.release({ timeoutMs: 1_000 });
  });

  test('keeps the outer lock too when its owner holds one for its own owner', async () => {
    const outer = await SourceLock.acquire(tuner, { dir });
    const nested = await ManagedChild.spawn(
      process.execPath,
      fixtureArguments('nested', [{ source: device, dir, script: stubborn }]),
      {
        holds: outer,
        graceMs: 200,
      },
    );
    const [line] = await once(nested.stdout as Readable, 'data');
    const { child } = JSON.parse(String(line));
    expect(locksOf(child)).toEqual(expect.arrayContaining([outer.path]));
    expect(locksOf(child)).toHaveLength(2);
    await nested.terminate();
    await eventually(() => expect(isRunning(child)).toBe(false));
    await outer.release();
  });

  test('that can not be started holds nothing', async () => {
    const lock = await SourceLock.acquire(tuner, { dir });
    await expect(ManagedChild.spawn('/nowhere', [], { holds: lock })).rejects.toThrow();
    await lock.release({ timeoutMs: 1_000 });
  });
});

test('an onWarning that throws whatever it likes does not lose the lock', async () => {
  const dead = holder();
  await dead.next();
  await dead.kill('SIGKILL');
  const warned = new Promise((resolve) => process.once('warning', resolve));
  const onWarning = () => {
    throw 'not an error';
  };
  await using _lock = await SourceLock.acquire(tuner, { dir, onWarning });
  expect(await warned).toMatchObject({ message: 'onWarning failed: not an error' });
  expect(await busy()).toBeInstanceOf(SourceBusyError);
});

test.each([
  [{ timeoutMs: Number.NaN }, 'timeoutMs'],
  [{ signal: {} }, 'signal'],
  [{ force: true }, 'has no option force'],
])('the option %j of release is refused by name, and the lock stays', async (options, message) => {
  await using lock = await SourceLock.acquire(tuner, { dir });
  await expect(lock.release(options as object)).rejects.toThrow(message);
  expect(await busy()).toBeInstanceOf(SourceBusyError);
});

test.each([
  [{ timeoutMs: -1 }, 'timeoutMs'],
  [{ timeoutMs: 'soon' }, 'timeoutMs'],
  [{ dir: '' }, 'dir'],
  [{ backend: 'proper' }, 'backend must be "auto" or "kernel", received "proper"'],
  [{ onWarnings: () => {} }, 'has no option onWarnings'],
])('the option %j is refused by name', async (options, message) => {
  await expect(SourceLock.acquire(tuner, { dir, ...(options as object) })).rejects.toThrow(message);
});

test('release is idempotent, and a lock that is released can not be given to a child', async () => {
  const lock = await SourceLock.acquire(tuner, { dir });
  await Promise.all([lock.release(), lock.release()]);
  await lock.release();
  await expect(ManagedChild.spawn('true', [], { holds: lock })).rejects.toBeInstanceOf(ClosedError);
});
