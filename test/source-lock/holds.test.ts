import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, rmSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { ClosedError, LockInUseError, ManagedChild, SourceLock } from 'holdfast';
import { describe, expect, test, vi } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { fixtureArguments, isRunning, locksOf } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { backends, device, lockSetting, tuner } from './support.ts';

describe.each(backends)('over %s:', (backend) => {
  const { at, busy, holder } = lockSetting(backend);

  describe('a child that holds', () => {
    const stubborn = "trap '' TERM; echo; while :; do sleep 0.1; done";

    test('keeps the lock when its owner is killed, and is named as its orphan', async () => {
      const other = holder({ child: stubborn });
      const { child } = await other.next();
      await other.kill('SIGKILL');
      const error = await busy();
      expect(error.holder).toMatchObject({ pid: child, orphanOf: other.pid, children: [child] });
      expect(error.message).toContain(`left behind by dead process ${other.pid}`);
      await using lock = await SourceLock.acquire(tuner, {
        ...at(),
        timeoutMs: promisedMs(5_000),
        onWarning: () => {},
      });
      expect(isRunning(child)).toBe(false);
      expect(lock.reclaimedFrom?.pid).toBe(other.pid);
    });

    test('and is an orphan can be ended by the next owner, who goes on', async () => {
      const request = { source: tuner, options: at(), child: stubborn };
      // Of its own, since the sweep ends all orphans that it can see.
      const namespace = ['unshare', ...(process.getuid?.() === 0 ? [] : ['-r']), '-pf', '--mount-proc', '--kill-child'];
      const [program = '', ...rest] = [...namespace, process.execPath, ...fixtureArguments('next-owner', [request])];
      const run = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
      const [line] = await once(run.stdout, 'data');
      const { owner, child, ...seen } = JSON.parse(String(line));
      expect(seen.isRefused).toBe(true);
      expect(seen.refusedBy).toMatchObject({ pid: child, orphanOf: owner });
      expect(seen.listed).toContainEqual(expect.objectContaining({ pid: child, ownerPid: owner, ended: false }));
      expect(seen.held).toMatchObject({ pid: child });
      expect(seen.ended).toContainEqual(expect.objectContaining({ pid: child, ended: true }));
      expect(seen.reclaimedFrom).toMatchObject({ pid: owner });
      expect(seen.left).toEqual([]);
      await once(run, 'exit');
    });

    test('keeps the source of a dead owner also when the lock file was removed', async () => {
      const other = holder({ child: stubborn });
      const { child, path } = await other.next();
      rmSync(path);
      await other.kill('SIGKILL');
      expect((await busy()).holder).toMatchObject({ pid: child, orphanOf: other.pid, children: [child] });
      const lock = await SourceLock.acquire(tuner, { ...at(), timeoutMs: promisedMs(5_000), onWarning: () => {} });
      expect(isRunning(child)).toBe(false);
      await lock.release();
    });

    test('makes release wait, then LockInUseError: the lock is kept and nothing killed', async () => {
      const lock = await SourceLock.acquire(tuner, at());
      const child = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
      const error = await lock.release({ timeoutMs: 60 }).catch((e) => e);
      expect(error).toBeInstanceOf(LockInUseError);
      expect(error.message).toContain(String(child.pid));
      expect(isRunning(child.pid)).toBe(true);
      expect((await busy()).holder).toMatchObject({ pid: process.pid, children: [child.pid] });
      await child.terminate();
      await lock.release();
      await (await SourceLock.acquire(tuner, { ...at(), onWarning: () => expect.unreachable() })).release();
    });

    test('is ended by the disposal of the lock', async () => {
      const lock = await SourceLock.acquire(tuner, at());
      const child = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
      await lock[Symbol.asyncDispose]();
      expect(isRunning(child.pid)).toBe(false);
      await (await SourceLock.acquire(tuner, at())).release();
    });

    test('ends when the lock is lost, reason lock-lost', async () => {
      vi.useFakeTimers({ toFake: ['setInterval'] });
      try {
        const lock = await SourceLock.acquire(tuner, at());
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
      await (await SourceLock.acquire(tuner, { ...at(), timeoutMs: promisedMs(5_000), onWarning: () => {} })).release();
    });

    test('of its child that left the tree unseen keeps the lock after release', async () => {
      const lock = await SourceLock.acquire(tuner, at());
      const script = 'setsid env -i /bin/sh -c "echo \\$\\$; exec sleep 300" & exec sleep 300';
      const child = await ManagedChild.spawn('sh', ['-c', script], { holds: lock, containment: 'group' });
      const escaped = Number(await new Promise((resolve) => child.stdout?.once('data', resolve)));
      const looking = openSync(lock.path, 'r');
      const bystander = spawn('sleep', ['300'], { stdio: ['ignore', 'ignore', 'ignore', looking] });
      closeSync(looking);
      try {
        await child.terminate();
        const error = await lock.release({ timeoutMs: 100 }).catch((e) => e);
        expect(error).toBeInstanceOf(LockInUseError);
        expect(error.children).toEqual([escaped]);
        expect((await busy()).holder).toMatchObject({ pid: escaped, orphanOf: process.pid });
      } finally {
        process.kill(escaped, 'SIGKILL');
        bystander.kill('SIGKILL');
      }
      await lock.release();
      await (await SourceLock.acquire(tuner, at())).release();
    });

    test('that outlives the disposal leaves the lock to be released when it ends', async () => {
      const lock = await SourceLock.acquire(tuner, at());
      const hold = lock.hold();
      const survived = new Error('still lives');
      hold.started({ pid: process.pid, startTicks: 0, terminate: () => Promise.reject(survived) });
      await expect(lock[Symbol.asyncDispose]()).rejects.toBe(survived);
      expect(await busy()).toMatchObject({ code: 'HOLDFAST_SOURCE_BUSY' });
      hold.end();
      await lock.release();
      await (await SourceLock.acquire(tuner, at())).release();
    });

    test('is ended by a disposal that comes while it is being started', async () => {
      for (let turns = 0; turns < 6; turns++) {
        const lock = await SourceLock.acquire(tuner, at());
        const starting = ManagedChild.spawn('sleep', ['300'], { holds: lock }).catch(() => undefined);
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        await lock[Symbol.asyncDispose]();
        const child = await starting;
        expect(child && isRunning(child.pid)).toBeFalsy();
      }
    });

    test('of several locks of which one was released starts nothing and keeps none', async () => {
      const released = await SourceLock.acquire(device, at());
      const lock = await SourceLock.acquire(tuner, at());
      await released.release();
      await expect(ManagedChild.spawn('sleep', ['300'], { holds: [lock, released] })).rejects.toBeInstanceOf(
        ClosedError,
      );
      await lock.release({ timeoutMs: 1_000 });
    });

    test('keeps the outer lock too when its owner holds one for its own owner', async () => {
      const outer = await SourceLock.acquire(tuner, at());
      const nested = await ManagedChild.spawn(
        process.execPath,
        fixtureArguments('nested', [{ source: device, options: at(), script: stubborn }]),
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
      const lock = await SourceLock.acquire(tuner, at());
      await expect(ManagedChild.spawn('/nowhere', [], { holds: lock })).rejects.toThrow();
      await lock.release({ timeoutMs: 1_000 });
    });
  });
});
