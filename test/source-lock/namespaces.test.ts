import { chmodSync, chownSync, rmSync, statSync } from 'node:fs';
import { type LockWarning, SourceLock } from 'holdfast';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { hasNamespaces, ownPids, pidNamespace, withMounts } from '../support/namespace.ts';
import { isRunning } from '../support/processes.ts';
import { RemoteLock } from '../support/remote-lock.ts';
import { temporaryDirectory } from '../support/temporary.ts';

import { backends, device, lockSetting, tuner } from './support.ts';

const isPossible = hasNamespaces();
// Many processes are started, all of the same program. Where all tests are skipped, nothing is cleared away after them.
if (isPossible) process.env.NODE_COMPILE_CACHE = temporaryDirectory(afterAll);

const SERVICE = { uid: 65_534, gid: 65_534 };
const GROUP = 4_242;

describe.skipIf(!isPossible).each(backends)('over %s:', (backend) => {
  const { at, busy, dir } = lockSetting(backend);
  const quiet = () => ({ ...at(), onWarning: () => {} });

  /** Another process, by a program that starts it in other surroundings. */
  async function remote(wrapper: readonly string[] = [], user?: { groups?: number[] }): Promise<RemoteLock> {
    const request = { source: tuner, options: at(), user: user && { ...SERVICE, ...user } };
    const started = await RemoteLock.start(request, { wrapper });
    onTestFinished(() => started.kill());
    return started;
  }

  /** A lock directory in which all files belong to the group. */
  function shareWithGroup(mode = 0o2770): void {
    chownSync(dir(), 0, GROUP);
    chmodSync(dir(), mode);
  }

  describe('a pid namespace', () => {
    test('around the holder: who is outside is refused, told who it is, and follows it when it is dead', async () => {
      const inside = await remote(ownPids);
      await inside.acquire();
      expect((await busy()).holder).toMatchObject({ pid: inside.pid, command: expect.stringContaining('lock-remote') });
      expect(await SourceLock.inspect(tuner, at())).toMatchObject({ pid: inside.pid });
      await inside.kill();
      expect(await SourceLock.inspect(tuner, at())).toBeUndefined();
      await using lock = await SourceLock.acquire(tuner, quiet());
      expect(lock.reclaimedFrom?.pid).toBe(inside.pid);
    });

    test('around a holder whose lock file was removed keeps the source to it, until it is dead', async () => {
      const inside = await remote(ownPids);
      const { path } = await inside.acquire();
      rmSync(path);
      expect((await busy()).holder).toMatchObject({ pid: inside.pid, verified: 'meta' });
      await inside.kill();
      await using lock = await SourceLock.acquire(tuner, quiet());
      expect(lock.reclaimedFrom?.pid).toBe(inside.pid);
    });

    test('each around a holder of the same pid: two deaths are two, each told once', async () => {
      const [one, other] = [await remote(ownPids), await remote(ownPids)];
      expect(one.pid).toBe(other.pid);
      await one.acquire();
      await other.acquire({ of: device });
      await one.kill();
      await other.kill();
      const keys: string[] = [];
      const onWarning = (warning: LockWarning) => keys.push('key' in warning ? warning.key : warning.code);
      await using lock = await SourceLock.acquire([tuner, device], { ...at(), onWarning });
      expect(keys.sort()).toEqual(lock.keys);
    });

    test('around another: it is refused while the holder outside lives, and follows it when it is dead', async () => {
      const [outside, inside] = [await remote(), await remote(ownPids)];
      await outside.acquire();
      expect(await inside.acquire()).toMatchObject({ name: 'SourceBusyError' });
      await outside.kill();
      expect(await inside.inspect()).toBe('nobody');
      expect(await inside.acquire()).toMatchObject({ acquired: true, reclaimedFrom: { pid: outside.pid } });
    });

    test('around another: it is told who the holder outside is', async () => {
      const [outside, inside] = [await remote(), await remote(ownPids)];
      await outside.acquire();
      expect(await inside.acquire()).toMatchObject({ name: 'SourceBusyError', holder: { pid: outside.pid } });
    });

    test('of a dead holder is not named when another has the lock that has not said yet who it is', async () => {
      const inside = await remote(ownPids);
      await inside.acquire();
      await inside.kill();
      const next = await remote();
      expect(await next.tell('take')).toBe('taken');
      const { holder } = await busy();
      expect(holder).toMatchObject({ pid: next.pid, verified: 'kernel' });
      expect(holder).not.toHaveProperty('orphanOf');
    });

    test('of a dead holder is not named inside a third, when another has the lock that can not be seen there', async () => {
      const [dead, next, third] = [await remote(ownPids), await remote(ownPids), await remote(ownPids)];
      await dead.acquire({ command: 'dead' });
      await dead.kill();
      expect(await next.tell('take')).toBe('taken');
      const { name, holder } = await third.acquire();
      expect(name).toBe('SourceBusyError');
      // What there is of flock(2) in other namespaces can't be told apart.
      if (backend === 'kernel') expect(holder).toBeUndefined();
    });

    test('around a holder that has not said yet who it is: who is outside sees it under its pid there', async () => {
      const namespace = await pidNamespace();
      onTestFinished(() => namespace.end());
      const inside = await remote(namespace.wrapper);
      expect(await inside.tell('take')).toBe('taken');
      const { holder } = await busy();
      expect(holder).toMatchObject({ pid: inside.outerPid, verified: 'kernel' });
      expect(holder).not.toHaveProperty('orphanOf');
    });

    test('around an orphan: who is outside is told of it, and that its owner is dead', async () => {
      const namespace = await pidNamespace();
      onTestFinished(() => namespace.end());
      const owner = await remote(namespace.wrapper);
      await owner.acquire();
      // Seen twice: the second time it is remembered where.
      for (const _ of 'ab') expect((await busy()).holder).toMatchObject({ pid: owner.pid });
      await owner.tell('share');
      await owner.kill();
      const { holder } = await busy();
      expect(holder).toMatchObject({ orphanOf: owner.pid, command: expect.stringContaining('while') });
      expect(holder.children).toContain(holder.pid);
      expect(isRunning(holder.pid)).toBe(true);
    });

    test('with a stranger that got the pid of a dead owner: who is refused is told of the orphan', async ({ skip }) => {
      const namespace = await pidNamespace();
      onTestFinished(() => namespace.end());
      const [owner, other] = [await remote(namespace.wrapper), await remote(namespace.wrapper)];
      await owner.acquire();
      const orphan = await owner.tell('share');
      await owner.kill();
      const stranger = namespace.occupy(owner.pid);
      if (!stranger) return skip('this kernel lets nobody choose a pid');
      const holder = { pid: orphan, orphanOf: owner.pid, children: [orphan] };
      expect(await other.acquire()).toMatchObject({ name: 'SourceBusyError', holder });
      expect(await other.inspect()).toMatchObject(holder);
    });
  });

  const EMPTY = 'mount -t tmpfs tmpfs /mnt; touch /mnt/empty; mount --bind /mnt/empty /proc/locks';
  describe.each([
    ['/dev/null over /proc/locks', 'mount --bind /dev/null /proc/locks', 'kernel+meta'],
    ['an empty file over /proc/locks', EMPTY, 'kernel+meta'],
    ['nothing in /proc', 'mount -t tmpfs tmpfs /proc', 'meta'],
  ])('with %s', (_, script, verified) => {
    test('a holder is named while it lives, and not when it has let go or is dead', async () => {
      const [first, second] = [await remote(withMounts(script)), await remote(withMounts(script))];
      expect(await first.inspect()).toBe('nobody');
      await first.acquire();
      const holder = { pid: first.pid, verified };
      expect(await second.acquire()).toMatchObject({ name: 'SourceBusyError', holder });
      expect(await second.inspect()).toMatchObject(holder);
      await first.tell('release');
      expect(await second.inspect()).toBe('nobody');
      await first.acquire();
      await first.kill();
      expect(await second.inspect()).toBe('nobody');
      expect(await second.acquire()).toMatchObject({ acquired: true, reclaimedFrom: { pid: first.pid } });
    });

    test('one that sees all and one that does not exclude and name each other', async () => {
      const masked = await remote(withMounts(script));
      await using lock = await SourceLock.acquire(tuner, at());
      const refused = await masked.acquire();
      await lock.release();
      expect(await masked.acquire()).toMatchObject({ acquired: true });
      expect((await busy()).holder).toMatchObject({ pid: masked.pid });
      expect(refused).toMatchObject({ name: 'SourceBusyError', holder: { pid: process.pid } });
    });
  });

  describe('a lock directory', () => {
    const FULL = /its disk is full \(ENOSPC\); make room/;

    test('on a disk that is full is an error that says so, and as good as before with room again', async () => {
      const other = await remote(withMounts(`mount -t tmpfs -o size=16k tmpfs ${dir()}`));
      await other.acquire();
      await other.tell('release');
      const before = await other.tell('descriptors');
      await other.shell(`cat /dev/zero > ${dir()}/rest 2> /dev/null || :`);
      const { isTyped, message } = await other.acquire();
      expect({ isTyped, message }).toEqual({ isTyped: true, message: expect.stringMatching(FULL) });
      expect(message).toContain(dir());
      expect(await other.shell(`ls ${dir()}`)).toMatch(/^FORMAT\n\S+\.lock\nrest\n$/);
      await other.shell(`rm ${dir()}/rest`);
      expect(await other.acquire()).toMatchObject({ acquired: true });
      await other.tell('release');
      expect(await other.tell('descriptors')).toBe(before);
    });

    test('on a disk with room for half of a sidecar never has half of one', async () => {
      const other = await remote(withMounts(`mount -t tmpfs -o size=16k tmpfs ${dir()}`));
      await other.acquire();
      await other.tell('release');
      await other.shell(`head -c 4096 /dev/zero > ${dir()}/rest`);
      const { acquired, message = '' } = await other.acquire({ command: 'long '.repeat(1_000) });
      if (!acquired) expect(message).toMatch(FULL);
      else expect(await other.shell(`cat ${dir()}/*.meta`)).toMatch(/\}\n$/);
    });

    test('that became read-only is an error, and a lock that is held is let go all the same', async () => {
      const other = await remote(withMounts(':'));
      await other.acquire();
      await other.tell('release');
      const before = await other.tell('descriptors');
      // On top of what is there: a file system with a file that is open for writing can't become read-only.
      const readOnly = `mount --bind ${dir()} ${dir()}; mount -o remount,bind,ro ${dir()}`;
      expect(await other.shell(readOnly)).toBe('');
      const { name, message } = await other.acquire();
      expect({ name, message }).toEqual({
        name: 'LockDirectoryError',
        message: expect.stringMatching(/\(EROFS\); give/),
      });
      expect(message).toContain(dir());
      expect(await other.inspect()).toBe('nobody');
      expect(await other.shell(`umount ${dir()}`)).toBe('');
      expect(await other.acquire()).toMatchObject({ acquired: true });
      expect(await other.shell(readOnly)).toBe('');
      // Its sidecar stays, so the next is told of it as of one that died.
      expect(await other.tell('release')).toBe('released');
      expect(await other.tell('descriptors')).toBe(before);
      await using lock = await SourceLock.acquire(tuner, quiet());
      expect(lock.reclaimedFrom?.pid).toBe(other.pid);
    });
  });

  describe('root and a service in a directory of their common group exclude and name each other', () => {
    test.each([
      ['0770, of which only the mode tells', 0o770],
      ['2770, which all files in it get', 0o2770],
    ])('if its mode is %s', async (_, mode) => {
      shareWithGroup(mode);
      const [root, service] = [await remote(), await remote([], { groups: [GROUP] })];
      await root.acquire();
      const holder = { pid: root.pid, command: expect.stringContaining('lock-remote') };
      expect(await service.acquire()).toMatchObject({ name: 'SourceBusyError', holder });
      expect(await service.inspect()).toMatchObject(holder);
      await root.kill();
      expect(await service.inspect()).toBe('nobody');
      expect(await service.acquire()).toMatchObject({ acquired: true, reclaimedFrom: { pid: root.pid } });
      expect((await busy()).holder).toMatchObject({ pid: service.pid, verified: 'kernel+meta' });
      await service.kill();
      await using lock = await SourceLock.acquire(tuner, quiet());
      expect(lock.reclaimedFrom?.pid).toBe(service.pid);
    });
  });

  // As systemd's ProtectProc= does.
  describe.each(['noaccess', 'invisible'])('a holder of another user whom hidepid=%s hides', (hidepid) => {
    const service = () => remote(withMounts(`mount -t proc -o hidepid=${hidepid} proc /proc`), { groups: [GROUP] });

    test('is named while it holds', async () => {
      shareWithGroup();
      const other = await service();
      await using lock = await SourceLock.acquire(tuner, at());
      expect(await other.acquire()).toMatchObject({ name: 'SourceBusyError', holder: { pid: process.pid } });
      expect(await other.inspect()).toMatchObject({ pid: process.pid });
      await lock.release();
      expect(await other.inspect()).toBe('nobody');
    });

    test('keeps the source though its lock file was removed', async () => {
      shareWithGroup();
      const other = await service();
      await using lock = await SourceLock.acquire(tuner, at());
      rmSync(lock.path);
      expect(await other.acquire()).toMatchObject({ name: 'SourceBusyError', holder: { pid: process.pid } });
    });
  });

  describe('a service that may not write', () => {
    test('the lock directory is told so', async () => {
      chmodSync(dir(), 0o755);
      const service = await remote([], {});
      const { name, message } = await service.acquire();
      expect(name).toBe('LockDirectoryError');
      expect(message).toContain(dir());
      expect(message).toMatch(/\(EACCES\); give this user write access/);
      expect(await service.inspect()).toBe('nobody');
    });

    test('the directory that all users share is told so, and locks nowhere else', async () => {
      chmodSync(dir(), 0o777);
      const script = 'mount -t tmpfs tmpfs /run; mkdir -p /run/holdfast/locks';
      const env = { HOLDFAST_LOCK_DIR: undefined, TMPDIR: dir(), XDG_RUNTIME_DIR: `${dir()}/runtime` };
      const request = { source: tuner, options: { backend }, user: SERVICE };
      await using service = await RemoteLock.start(request, { wrapper: withMounts(script), env });
      const { name, message } = await service.acquire();
      expect(name).toBe('LockDirectoryError');
      expect(message).toContain('/run/holdfast/locks');
      expect(await service.shell(`ls -A ${dir()}`)).toBe('');
    });

    test('a lock file is told so, and takes it when that is mended', async () => {
      chmodSync(dir(), 0o777);
      const service = await remote([], {});
      const { path } = await service.acquire();
      await service.tell('release');
      const before = await service.tell('descriptors');
      chmodSync(path, 0o444);
      const { name, message } = await service.acquire();
      expect(name).toBe('LockDirectoryError');
      expect(message).toContain(`${path}: it may not be written by this user (EACCES); give`);
      expect(await service.tell('descriptors')).toBe(before);
      chmodSync(path, 0o660);
      expect(await service.acquire()).toMatchObject({ acquired: true });
    });

    test('the sidecar of a dead user takes its place, or is told what hinders that', async () => {
      chmodSync(dir(), 0o777);
      const service = await remote([], {});
      const { path } = await service.acquire();
      await service.tell('release');
      const dead = await remote();
      await dead.acquire();
      await dead.kill();
      chmodSync(`${path}.meta`, 0);
      chmodSync(dir(), 0o1777);
      const { name, message } = await service.acquire();
      expect({ name, message }).toEqual({ name: 'LockDirectoryError', message: expect.stringContaining('.meta') });
      chmodSync(dir(), 0o777);
      expect(await service.acquire()).toMatchObject({ acquired: true });
      expect(statSync(`${path}.meta`).uid).toBe(SERVICE.uid);
    });
  });
});
