import {
  existsSync,
  mkdirSync,
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
import { LockDirectoryError, LockLostError, ManagedChild, SourceBusyError, SourceLock } from 'holdfast';
import { describe, expect, test, vi } from 'vitest';
import { openDescriptors } from '../support/processes.ts';

import { backends, device, lockSetting, tuner } from './support.ts';

describe.each(backends)('over %s:', (backend) => {
  const { at, busy, dir } = lockSetting(backend);

  describe('the files', () => {
    test('tell what is locked and by whom, for people', async () => {
      const lock = await SourceLock.acquire('http://u:hunter2@tuner/auto/v5.1?token=hunter2&b=2&a=1', at());
      expect(basename(lock.path)).toMatch(/^http-tuner-auto-v5\.1-a-1-b-2-[0-9a-f]{16}\.lock$/);
      const meta = JSON.parse(readFileSync(`${lock.path}.meta`, 'utf8'));
      expect(meta).toMatchObject({ pid: process.pid, host: hostname(), key: 'url:http://tuner/auto/v5.1?a=1&b=2' });
      expect(meta).toMatchObject({
        started: expect.stringMatching(/Z$/),
        cmd: expect.any(String),
        token: expect.any(String),
      });
      for (const name of readdirSync(dir())) expect(readFileSync(join(dir(), name), 'utf8')).not.toContain('hunter2');
      expect(statSync(lock.path).mode & 0o777).toBe(0o660);
      await lock.release();
      expect(existsSync(`${lock.path}.meta`)).toBe(false);
      expect(existsSync(lock.path)).toBe(true);
    });

    test('leave the fence growing after a crash and when the clock was set back', async () => {
      const first = await SourceLock.acquire(tuner, at());
      await first.release();
      const future = 9_999_999_999_999_999n;
      writeFileSync(first.path, `${future}\n`);
      const second = await SourceLock.acquire(tuner, at());
      expect(first.fence).toBeLessThan(second.fence);
      expect(second.fence).toBe(future + 1n);
      await second.release();
      await using third = await SourceLock.acquire(tuner, at());
      expect(third.fence).toBe(future + 2n);
    });

    test('left by a holder that had let go are no death, left by one that had not are', async () => {
      const lock = await SourceLock.acquire(tuner, at());
      const meta = JSON.parse(readFileSync(`${lock.path}.meta`, 'utf8'));
      await lock.release();
      writeFileSync(`${lock.path}.meta`, JSON.stringify({ ...meta, released: meta.started }));
      const second = await SourceLock.acquire(tuner, { ...at(), onWarning: () => expect.unreachable() });
      await second.release();
      expect(second.reclaimedFrom).toBeUndefined();
      writeFileSync(`${lock.path}.meta`, JSON.stringify(meta));
      await using third = await SourceLock.acquire(tuner, { ...at(), onWarning: () => {} });
      expect(third.reclaimedFrom).toMatchObject({ pid: process.pid, startedAt: meta.started });
    });

    test('are never followed: a link in place of the lock file is refused', async () => {
      const lock = await SourceLock.acquire(tuner, at());
      await lock.release();
      rmSync(lock.path);
      symlinkSync('/etc/hostname', lock.path);
      expect(await busy()).toBeInstanceOf(LockDirectoryError);
    });

    test('that are replaced under a holder abort its signal', async () => {
      vi.useFakeTimers();
      try {
        const lock = await SourceLock.acquire(tuner, at());
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
      const lock = await SourceLock.acquire(tuner, { ...at(), command: 'the first' });
      rmSync(lock.path);
      const error = await busy();
      expect(error).toBeInstanceOf(SourceBusyError);
      expect(error.holder).toMatchObject({ pid: process.pid, command: 'the first', verified: 'meta' });
      expect(await SourceLock.inspect(tuner, at())).toMatchObject({ command: 'the first' });
      await lock.release();
      await (await SourceLock.acquire(tuner, { ...at(), onWarning: () => expect.unreachable() })).release();
    });

    test('are not written through a link that waits at the name of the sidecar', async () => {
      const lock = await SourceLock.acquire(tuner, at());
      await lock.release();
      writeFileSync(join(dir(), 'victim'), 'untouched');
      symlinkSync(join(dir(), 'victim'), `${lock.path}.meta.tmp`);
      await using _again = await SourceLock.acquire(tuner, at());
      expect(readFileSync(join(dir(), 'victim'), 'utf8')).toBe('untouched');
    });

    test('can be shared by a group whatever the umask of the first user is', async () => {
      const umask = process.umask(0o077);
      try {
        const made = join(dir(), 'made');
        await using lock = await SourceLock.acquire(tuner, { dir: made });
        for (const path of [lock.path, `${lock.path}.meta`, join(made, 'FORMAT')])
          expect(statSync(path).mode & 0o777).toBe(0o660);
      } finally {
        process.umask(umask);
      }
    });

    test('that can no longer be written do not keep the lock, nor end the process', async () => {
      const lock = await SourceLock.acquire(tuner, at());
      const child = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
      mkdirSync(`${lock.path}.meta.tmp`);
      const second = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
      expect(await child.terminate()).toMatchObject({ reason: 'terminated' });
      expect(await second.terminate()).toMatchObject({ reason: 'terminated' });
      await lock.release({ timeoutMs: 1_000 });
      rmSync(`${lock.path}.meta.tmp`, { recursive: true });
      await (await SourceLock.acquire(tuner, { ...at(), onWarning: () => {} })).release();
    });

    test('are back at no open descriptor after 100 tenures', async () => {
      await (await SourceLock.acquire(tuner, at())).release();
      const before = openDescriptors();
      for (let round = 0; round < 100; round++) await (await SourceLock.acquire([tuner, device], at())).release();
      expect(openDescriptors()).toBe(before);
    });
  });
});
