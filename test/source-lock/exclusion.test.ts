import { closeSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { SourceBusyError, SourceLock, sourceKey } from 'holdfast';
import { describe, expect, test } from 'vitest';

import { backends, device, lockSetting, tuner } from './support.ts';

describe.each(backends)('over %s:', (backend) => {
  const { at, busy, holder, dir } = lockSetting(backend);

  describe('a source that is held', () => {
    test('is refused to the same process, with its own name', async () => {
      await using lock = await SourceLock.acquire(tuner, { ...at(), command: 'the first' });
      const error = await busy();
      expect(error).toBeInstanceOf(SourceBusyError);
      expect(error).toMatchObject({ code: 'HOLDFAST_SOURCE_BUSY', retryable: true, key: lock.key });
      expect(error.holder).toMatchObject({ pid: process.pid, command: 'the first', verified: 'kernel+meta' });
    });

    test('is refused to another process, which learns pid, host, since when and command', async () => {
      const before = Date.now();
      const other = holder({ options: { ...at(), command: 'ffmpeg -i http://joe:secret@tuner/' } });
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
      await using _lock = await SourceLock.acquire('HTTP://joe:pw@192.168.1.20.:5004/auto/v5.1#now', at());
      expect(await busy()).toBeInstanceOf(SourceBusyError);
      expect(await SourceLock.tryAcquire(new URL(tuner), at())).toMatchObject({ acquired: false });
    });

    test('is free at the next try after its holder was killed, which is told once', async () => {
      const other = holder({ options: { ...at(), command: 'the dead' } });
      await other.next();
      await other.kill('SIGKILL');
      const warnings: unknown[] = [];
      const onWarning = (warning: unknown) => warnings.push(warning);
      const lock = await SourceLock.acquire(tuner, { ...at(), onWarning });
      expect(lock.reclaimedFrom).toMatchObject({ pid: other.pid, command: 'the dead' });
      expect(warnings).toMatchObject([{ code: 'DEAD_HOLDER', key: lock.key, holder: { pid: other.pid } }]);
      await lock.release();
      await (await SourceLock.acquire(tuner, { ...at(), onWarning })).release();
      expect(warnings).toHaveLength(1);
    });

    test('is free at once after a release, without a warning', async () => {
      const other = holder();
      await other.next();
      other.process.stdin?.write('release\n');
      expect(await other.next()).toBe('released');
      await using lock = await SourceLock.acquire(tuner, { ...at(), onWarning: () => expect.unreachable() });
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

  describe('several identities of one source', () => {
    test('are all held, in sorted order, and named by the first given', async () => {
      await using lock = await SourceLock.acquire([tuner, device, tuner], at());
      expect(lock.key).toBe(`url:${tuner}`);
      expect(lock.keys).toEqual([`url:${device}`, `url:${tuner}`]);
      expect(await busy(device)).toBeInstanceOf(SourceBusyError);
      expect(await busy(tuner)).toBeInstanceOf(SourceBusyError);
    });

    test('that could not all be had leave the death of a holder to be told to the next', async () => {
      const dead = holder({ source: device });
      await dead.next();
      await dead.kill('SIGKILL');
      const living = await SourceLock.acquire(tuner, at());
      expect(await busy([device, tuner])).toMatchObject({ key: `url:${tuner}` });
      await living.release();
      const warnings: unknown[] = [];
      await using _lock = await SourceLock.acquire([device, tuner], {
        ...at(),
        onWarning: (warning) => warnings.push(warning),
      });
      expect(warnings).toMatchObject([{ code: 'DEAD_HOLDER', holder: { pid: dead.pid } }]);
    });

    test('that one dead holder had are one death, told once', async () => {
      const dead = holder({ source: [device, tuner] });
      await dead.next();
      await dead.kill('SIGKILL');
      const warnings: unknown[] = [];
      await using lock = await SourceLock.acquire([tuner, device], {
        ...at(),
        onWarning: (warning) => warnings.push(warning),
      });
      expect(warnings).toMatchObject([{ code: 'DEAD_HOLDER', holder: { pid: dead.pid } }]);
      expect(lock.reclaimedFrom).toMatchObject({ pid: dead.pid });
    });

    test('are held all or none', async () => {
      await using _lock = await SourceLock.acquire(tuner, at());
      expect(await busy([device, tuner])).toMatchObject({ key: `url:${tuner}` });
      await (await SourceLock.acquire(device, at())).release();
    });
  });

  describe('a file', () => {
    test('that was put in the place of the one a dead holder had is followed, with its warning', async () => {
      const file = join(dir(), 'recording.ts');
      writeFileSync(file, '');
      const dead = holder({ source: file });
      await dead.next();
      await dead.kill('SIGKILL');
      renameSync(file, `${file}.old`);
      writeFileSync(file, '');
      const warnings: unknown[] = [];
      await using lock = await SourceLock.acquire(file, { ...at(), onWarning: (warning) => warnings.push(warning) });
      expect(warnings).toMatchObject([{ code: 'DEAD_HOLDER', key: lock.key, holder: { pid: dead.pid } }]);
    });

    test('that is refused by its name is refused with the key that was given', async () => {
      const file = join(dir(), 'recording.ts');
      await using _before = await SourceLock.acquire(file, at());
      writeFileSync(file, '');
      expect(await busy(file)).toMatchObject({ key: sourceKey(file) });
    });

    test('is one source before and after it is made, and when it is removed', async () => {
      const file = join(dir(), 'recording.ts');
      const before = await SourceLock.acquire(file, at());
      writeFileSync(file, '');
      expect(await busy(file)).toBeInstanceOf(SourceBusyError);
      await before.release();
      await using after = await SourceLock.acquire(file, at());
      expect(after.keys).toEqual([after.key]);
      rmSync(file);
      expect(await busy(file)).toBeInstanceOf(SourceBusyError);
    });
  });

  describe('inspect and list', () => {
    test('name the holder, also while many look at once, and nobody when it is free', async () => {
      expect(await SourceLock.inspect(tuner, at())).toBeUndefined();
      const other = holder({ source: [tuner, device] });
      await other.next();
      const looks = await Promise.all(Array.from({ length: 50 }, () => SourceLock.inspect(tuner, at())));
      for (const look of looks) expect(look).toMatchObject({ pid: other.pid, verified: 'kernel+meta' });
      expect((await SourceLock.list({ dir: dir() })).map(({ key }) => key).sort()).toEqual([
        `url:${device}`,
        `url:${tuner}`,
      ]);
      await other.kill('SIGKILL');
      expect(await SourceLock.inspect(tuner, at())).toBeUndefined();
      expect(await SourceLock.list({ dir: dir() })).toEqual([]);
      expect(await SourceLock.list({ dir: join(dir(), 'nowhere') })).toEqual([]);
    });
  });
});
