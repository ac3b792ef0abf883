import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { HoldfastError, SourceLock } from 'holdfast';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { identityOf } from '../../src/internal/proc.ts';
import { heldFor } from '../stress/live-holder.ts';
import { debianProgram } from '../support/debian.ts';
import { exitCall, hasPerlThreads } from '../support/ending-thread.ts';
import { eventually } from '../support/eventually.ts';
import { childrenOf, endProcess, fixtureArguments, isRunning, openDescriptors } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { RemoteLock } from '../support/remote-lock.ts';
import { settableClock, sharedByClockOf } from '../support/settable-clock.ts';
import { temporaryDirectory } from '../support/temporary.ts';

import { backends, lockSetting, tuner } from './support.ts';

// Many processes are started, all of the same program.
process.env.NODE_COMPILE_CACHE = temporaryDirectory(afterAll);
const isRoot = process.getuid?.() === 0;

describe.each(backends)('over %s:', (backend) => {
  const { at, busy, dir } = lockSetting(backend);
  const quiet = () => ({ ...at(), onWarning: () => {} });
  const remote = (env: NodeJS.ProcessEnv = {}) => RemoteLock.start({ source: tuner, options: at() }, { env });

  describe('a holder that lives', () => {
    test('is never followed: stopped, blocked, its clock or the others’ an hour ahead or back', async () => {
      const { holders, clocks, refused, broken, misnamed } = await heldFor(2, backend);
      expect({ broken, misnamed }).toEqual({ broken: [], misnamed: [] });
      expect(refused).toBeGreaterThanOrEqual(holders.length * clocks.length);
    });

    test('is followed with a greater fence though the clock is an hour behind by then', async ({ skip }) => {
      const clock = await settableClock(join(temporaryDirectory(), 'clock'));
      if (!clock) return skip();
      await using other = await remote(clock.env);
      const first = BigInt((await other.acquire()).fence);
      await other.tell('release');
      clock.set(-3_600);
      expect(Date.now() - Number(await other.tell('clock'))).toBeGreaterThan(3_000_000);
      const second = BigInt((await other.acquire()).fence);
      const shared = sharedByClockOf(other.outerPid);
      expect(shared.map(existsSync)).toEqual([true, true]);
      await other.kill();
      expect(shared.map(existsSync)).toEqual([false, false]);
      await using third = await SourceLock.acquire(tuner, quiet());
      expect(second).toBeGreaterThan(first);
      expect(third.fence).toBeGreaterThan(second);
    });
  });

  test('a holder that was killed is followed at once and named no more, though its parent never reaps it', async () => {
    // It was another program when it started its child, and knows nothing of it.
    const script = 'exec 3<&0; "$0" "$@" <&3 & exec sleep 300';
    const holding = fixtureArguments('holder', [{ source: tuner, options: at() }]);
    const parent = spawn('sh', ['-c', script, process.execPath, ...holding]);
    onTestFinished(() => {
      for (const { pid } of childrenOf(parent.pid as number)) process.kill(pid, 'SIGKILL');
      parent.kill('SIGKILL');
    });
    await new Promise((resolve) => parent.stdout.once('data', resolve));
    const { pid } = (await busy()).holder;
    process.kill(pid, 'SIGKILL');
    await eventually(() => expect(isRunning(pid)).toBe(false));
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/\) Z /);
    // Its main thread may have ended before the others, which have the lock as long.
    await eventually(async () => expect(await SourceLock.inspect(tuner, at())).toBeUndefined());
    await using lock = await SourceLock.acquire(tuner, quiet());
    expect(lock.reclaimedFrom?.pid).toBe(pid);
  });

  test('a process without a descriptor left does not take its lock for free while what it started has it', async () => {
    const limited = ['sh', '-c', 'ulimit -n 200; exec "$0" "$@"'];
    await using other = await RemoteLock.start({ source: tuner, options: at() }, { wrapper: limited });
    await other.acquire();
    const pid = Number(await other.tell('leak'));
    onTestFinished(() => endProcess(pid));
    expect(await other.tell('releaseExhausted')).toMatchObject({ name: 'LockInUseError' });
    expect(await SourceLock.tryAcquire(tuner, at())).toMatchObject({ acquired: false });
    await endProcess(pid);
  });

  // A thread that outlives the main one needs a program in which that can end alone; by `exit`, as the kernel counts.
  test.runIf(exitCall && hasPerlThreads)('a holder of which a thread can not end holds on, and is named', async () => {
    const lock = await SourceLock.acquire(tuner, at());
    const meta = JSON.parse(readFileSync(`${lock.path}.meta`, 'utf8'));
    await lock.release();
    const taking = backend === 'flock' ? 'flock($file, 2)' : "fcntl($file, 37, pack('ssx4qqix4', 1, 0, 0, <STDIN>, 0))";
    const program = `
      open(my $file, '+<', $ARGV[0]); print fileno($file); STDOUT->flush;
      ${taking} or die; threads->create(sub { sleep 1000 }); print 'locked'; STDOUT->flush; syscall(${exitCall}, 0)`;
    const ending = spawn('perl', ['-Mthreads', '-MIO::Handle', '-e', program, lock.path]);
    const pid = ending.pid as number;
    onTestFinished(() => void ending.kill('SIGKILL'));
    const descriptor = Number((await once(ending.stdout, 'data'))[0]);
    const { startTicks } = identityOf(pid);
    writeFileSync(`${lock.path}.meta`, JSON.stringify({ ...meta, pid, startTicks, descriptor, cmd: 'ending' }));
    ending.stdin.end(`${(startTicks % 2 ** 31) * 2 ** 22 + pid + 1}\n`);
    await eventually(() => expect(isRunning(pid), 'as far as its main thread tells').toBe(false));
    expect((await busy()).holder).toMatchObject({ pid, command: 'ending' });
    expect(await SourceLock.inspect(tuner, at())).toMatchObject({ pid });
    ending.kill('SIGKILL');
    await using next = await SourceLock.acquire(tuner, { ...quiet(), timeoutMs: promisedMs(5_000) });
    expect(next.reclaimedFrom?.pid).toBe(pid);
  });

  describe('the pid of a dead holder that a stranger has got', () => {
    /** As if the pid of a process that lives had been that of a holder that died with the lock. */
    async function reusedPid(): Promise<{ pid: number; path: string }> {
      const stranger = spawn('sleep', ['300']);
      onTestFinished(() => void stranger.kill('SIGKILL'));
      const pid = stranger.pid as number;
      const lock = await SourceLock.acquire(tuner, at());
      const meta = JSON.parse(readFileSync(`${lock.path}.meta`, 'utf8'));
      await lock.release();
      writeFileSync(`${lock.path}.meta`, JSON.stringify({ ...meta, pid, startTicks: meta.startTicks - 1_000 }));
      return { pid, path: lock.path };
    }

    test('does not keep the source, and nobody is named', async () => {
      const { pid } = await reusedPid();
      expect(await SourceLock.inspect(tuner, at())).toBeUndefined();
      expect(await SourceLock.list({ dir: dir() })).toEqual([]);
      await using lock = await SourceLock.acquire(tuner, quiet());
      expect(lock.reclaimedFrom?.pid).toBe(pid);
      expect((await busy()).holder.pid).toBe(process.pid);
    });

    test('is no owner of the next holder, which has not said yet who it is', async () => {
      const { path, pid } = await reusedPid();
      const dead = readFileSync(`${path}.meta`);
      await using lock = await SourceLock.acquire(tuner, quiet());
      renameSync(`${path}.meta`, `${path}.later`);
      writeFileSync(`${path}.meta`, dead);
      const { holder } = await busy();
      renameSync(`${path}.later`, `${path}.meta`);
      expect(lock.reclaimedFrom?.pid).toBe(pid);
      expect(holder).toMatchObject({ pid: process.pid, verified: 'kernel' });
      expect(holder.startedAt).not.toBe(JSON.parse(String(dead)).started);
      expect(holder.orphanOf).toBeUndefined();
    });
  });

  describe('a lock', () => {
    const meta = { pid: 1, startTicks: 1, token: '', host: '', started: '', cmd: '', children: [] };
    const sidecar = (change: object) => `echo '${JSON.stringify({ ...meta, ...change })}' > $F.meta`;
    const isLink = /\.lock: that is a symbolic link.*\(ELOOP\); remove the link/;
    const isReadOnly = /\.lock: it may not be written by this user \(EACCES\); give this user write access/;

    // What happens to its file F, and the error that tells of it; if there is none, it is taken all the same.
    test.each<[string, string, (RegExp | undefined)?]>([
      ['whose file was removed', 'rm $F'],
      ['whose file was replaced', 'rm $F; echo > $F'],
      ['whose file is a directory', 'rm $F; mkdir $F', /\.lock: that is a directory \(EISDIR\); move it away/],
      ['whose file is a link', 'rm $F; ln -s /etc/hostname $F', isLink],
      ['whose file is a link to nothing', 'rm $F; ln -s /nowhere $F', isLink],
      ['whose file is a pipe', 'rm $F; mkfifo $F', /\.lock.*; remove/],
      ['whose file has something else in it', 'echo hello > $F', /\.lock can't be a lock: .*choose another path, or/],
      ['whose file is read-only', 'chmod 0444 $F', isRoot ? undefined : isReadOnly],
      ['with an empty sidecar', 'echo > $F.meta'],
      ['with a sidecar that is cut off', `echo '{"pid": 1, "tok' > $F.meta`],
      ['with a sidecar that is no object', 'echo null > $F.meta'],
      ['with a sidecar of another version', `echo '{ "version": 2, "holder": { "pid": 1 } }' > $F.meta`],
      ['with a sidecar of other types', sidecar({ pid: '1', children: {} })],
      ['with a sidecar of times that are none', sidecar({ started: 'tomorrow' })],
      ['with a sidecar of children that are none', sidecar({ children: [null] })],
      ['with a sidecar of children of another shape', sidecar({ children: ['1', { id: 1 }] })],
      ['with a sidecar that can not be read', `${sidecar({})}; chmod 0 $F.meta`],
      ['with a directory for a sidecar', 'mkdir $F.meta', /\.meta: that is a directory \(EISDIR\); move it away/],
      ['with half a sidecar', 'echo { > $F.meta.tmp; chmod 0 $F.meta.tmp'],
      ['with a directory for half a sidecar', 'mkdir $F.meta.tmp', /\.meta\.tmp: .*; remove/],
    ])(
      '%s is taken or refused with advice, leaks nothing and is as before when that is mended',
      async (_, script, told) => {
        const taken = () => SourceLock.acquire(tuner, quiet()).then((lock) => lock.release().then(() => lock));
        const { path } = await taken();
        const shell = (text: string) => execFileSync('sh', ['-ec', text], { env: { ...process.env, F: path } });
        const before = openDescriptors();
        shell(script);
        const look = await SourceLock.inspect(tuner, at()).catch((error) => error);
        expect(look === undefined || look instanceof HoldfastError, look?.message).toBe(true);
        const next = await taken().catch((error) => error);
        if (told) expect(next).toMatchObject({ code: 'HOLDFAST_LOCK_DIRECTORY', message: expect.stringMatching(told) });
        else expect(next).toBeInstanceOf(SourceLock);
        expect(openDescriptors()).toBe(before);
        shell('rm -rf $F $F.*');
        await taken();
        expect(openDescriptors()).toBe(before);
        expect(readdirSync(dir()).sort()).toEqual(['FORMAT', expect.stringMatching(/\.lock$/)]);
      },
    );

    test('with a pipe for a sidecar does not hold up who looks', async () => {
      await using other = await remote();
      const { path } = await other.acquire();
      await other.tell('release');
      execFileSync('mkfifo', [`${path}.meta`]);
      const answer = Promise.race([other.inspect(), new Promise((resolve) => setTimeout(resolve, promisedMs(1_000)))]);
      expect(await answer).toBe('nobody');
    });
  });

  describe('many', () => {
    test('waits that are aborted leave neither a descriptor nor a process', async () => {
      await using _lock = await SourceLock.acquire(tuner, at());
      const before = openDescriptors();
      const reason = new Error('viewer left');
      for (let round = 0; round < 100; round++) {
        const abort = new AbortController();
        let aborted = 0;
        const waiting = SourceLock.acquire(tuner, { ...at(), timeoutMs: 60_000, signal: abort.signal });
        setTimeout(
          () => {
            aborted = performance.now();
            abort.abort(reason);
          },
          (round % 10) * 5,
        );
        await expect(waiting).rejects.toBe(reason);
        expect(performance.now() - aborted).toBeLessThan(promisedMs(500));
      }
      await eventually(() => expect(childrenOf(process.pid)).toEqual([]));
      expect(openDescriptors()).toBe(before);
    });

    test('refusals leave neither a descriptor nor a process', async () => {
      await using _lock = await SourceLock.acquire(tuner, at());
      const before = openDescriptors();
      for (let round = 0; round < 50; round++) expect((await busy()).holder).toMatchObject({ pid: process.pid });
      await eventually(() => expect(childrenOf(process.pid)).toEqual([]));
      expect(openDescriptors()).toBe(before);
    });

    test('that wait in one process hold one at a time, and all get it', async () => {
      const holding = new Set<number>();
      const fences: bigint[] = [];
      const hold = async (_: unknown, each: number) => {
        const lock = await SourceLock.acquire(tuner, { ...at(), timeoutMs: 20_000 });
        holding.add(each);
        fences.push(lock.fence);
        await new Promise((resolve) => setTimeout(resolve, 2));
        expect([...holding]).toEqual([each]);
        holding.delete(each);
        await lock.release();
      };
      await Promise.all(Array.from({ length: 16 }, hold));
      expect(fences).toEqual([...new Set(fences)].sort());
      expect(fences).toHaveLength(16);
    });

    test('tenures of one that lets go and comes back at once leave room for another that waits', async () => {
      await using other = await remote();
      await other.tell('hog');
      const hasIt = async () => expect(await SourceLock.inspect(tuner, at())).toMatchObject({ pid: other.pid });
      await eventually(hasIt);
      for (let round = 0; round < 5; round++) {
        const before = performance.now();
        const lock = await SourceLock.acquire(tuner, { ...quiet(), timeoutMs: 20_000 });
        expect(performance.now() - before).toBeLessThan(promisedMs(1_000));
        await lock.release();
      }
      await eventually(hasIt);
    });
  });
});

describe('the program flock', () => {
  const { at } = lockSetting('flock');
  const remote = (path: string) => RemoteLock.start({ source: tuner, options: at() }, { env: { PATH: path } });

  // That of busybox only where it is installed: Debian's has no flock.
  test.each<[string, string[]?]>([['toybox', ['toybox']], ['busybox']])(
    'may be that of %s, which can not wait with a time-out',
    async (name, packages) => {
      const box = await boxWithFlock(name, packages);
      if (!box) return;
      const bin = temporaryDirectory();
      symlinkSync(box, join(bin, 'flock'));
      await using holder = await remote(`${bin}:${process.env.PATH}`);
      await using other = await remote(`${bin}:${process.env.PATH}`);
      expect(await other.shell('flock --help 2>&1 || :')).not.toContain('timeout');
      expect(await holder.acquire()).toMatchObject({ acquired: true });
      expect(await other.acquire()).toMatchObject({ name: 'SourceBusyError', holder: { pid: holder.pid } });
      const before = performance.now();
      expect(await other.acquire({ timeoutMs: 400 })).toMatchObject({ name: 'SourceBusyError' });
      expect(performance.now() - before).toBeGreaterThan(399);
      expect(await other.acquire({ timeoutMs: 60_000, abortAfterMs: 300 })).toMatchObject({ name: 'TimeoutError' });
      await eventually(() => expect(childrenOf(other.outerPid)).toEqual([]));
      const waiting = other.acquire({ timeoutMs: 20_000 });
      await holder.tell('release');
      expect(await waiting).toMatchObject({ acquired: true });
      expect(await other.tell('release')).toBe('released');
      await eventually(() => expect(childrenOf(other.outerPid)).toEqual([]));
    },
  );

  test('that is missing is an error which says what to install, and leaks nothing', async () => {
    await using other = await remote('/nowhere');
    const attempt = () => other.acquire({ timeoutMs: 1_000 });
    const { name, message } = await attempt();
    expect(name).toBe('LockUnsupportedError');
    expect(message).toContain('flock did not start (ENOENT); install util-linux or busybox');
    const before = Number(await other.tell('descriptors'));
    for (let round = 0; round < 10; round++) await attempt();
    await eventually(async () => expect(await other.tell('descriptors')).toBeLessThanOrEqual(before));
  });

  test.each(['exit 3', 'echo "flock: no locks here" >&2; exit 1', 'kill -9 $$'])(
    'that ends by `%s` is an error, and not a source that is busy',
    async (script) => {
      const bin = temporaryDirectory();
      writeFileSync(join(bin, 'flock'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      await using other = await remote(`${bin}:${process.env.PATH}`);
      expect(await other.acquire()).toMatchObject({ name: 'LockUnsupportedError' });
    },
  );
});

async function boxWithFlock(name: string, packages?: readonly string[]): Promise<string | undefined> {
  if (packages) return (await debianProgram(name, packages))?.path;
  const path = process.env.PATH?.split(delimiter)
    .map((folder) => join(folder, name))
    .find(existsSync);
  if (path && spawnSync(path, ['flock', '--help']).status === 0) return path;
  console.warn(`skipped: no ${name} with flock here`);
  return undefined;
}
