import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type LockBackend,
  LockDirectoryError,
  LockLostError,
  ManagedChild,
  SourceLock,
  type TakenLock,
} from 'holdfast';
import { afterEach, describe, expect, test } from 'vitest';
import { nameOfFileSystem } from '../../src/source-lock/network-file-system.ts';
import { startProgram } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { device, lockSetting, tuner } from './support.ts';

// Of all backends only the lease has any: proper-lockfile installs them to let go when the process is ended.
afterEach(() => {
  process.removeAllListeners('SIGTERM');
});

/** Keeps its locks in a map: what an author of a backend writes. */
class MapBackend implements LockBackend {
  readonly name = 'map';
  readonly held = new Map<string, { readonly lost: AbortController; command: string }>();
  #fence = 0n;

  async take({ key, path }: { key: string; path: string }): Promise<TakenLock | undefined> {
    if (this.held.has(key)) return undefined;
    const entry = { lost: new AbortController(), command: '' };
    this.held.set(key, entry);
    return {
      key,
      path,
      lost: entry.lost.signal,
      begin: async (command) => {
        entry.command = command;
        this.#fence += 1n;
        return { fence: this.#fence };
      },
      share: () => [],
      recordChildren: () => {},
      release: async () => void this.held.delete(key),
    };
  }

  async inspect(places: readonly { key: string; path: string }[]) {
    return places.flatMap(({ key, path }) => {
      const command = this.held.get(key)?.command;
      if (command === undefined) return [];
      const startedAt = new Date(0).toISOString();
      return [{ key, path, pid: 1, host: 'elsewhere', startedAt, command, verified: 'meta' as const }];
    });
  }
}

/** Keeps its locks as another does, but for how it lets go of them. */
function releasingBy(backend: MapBackend, release: (lock: TakenLock) => Promise<void>): LockBackend {
  return {
    name: 'map with another release',
    inspect: (places) => backend.inspect(places),
    async take(place) {
      const lock = await backend.take(place);
      return lock && { ...lock, release: () => release(lock) };
    },
  };
}

describe('a backend of one’s own', () => {
  test('keeps the locks, and all that is built on them works the same', async () => {
    const backend = new MapBackend();
    const lock = await SourceLock.acquire([tuner, device], { backend, command: 'x --url http://a:b@c/' });
    expect(lock.fence).toBeGreaterThan(0n);
    expect(await SourceLock.tryAcquire(tuner, { backend })).toMatchObject({
      acquired: false,
      holder: { host: 'elsewhere', command: 'x --url http://***@c/' },
    });
    expect(await SourceLock.inspect(device, { backend })).toMatchObject({ host: 'elsewhere' });
    const child = await ManagedChild.spawn('sleep', ['300'], { holds: lock });
    backend.held.get(`url:${device}`)?.lost.abort(new LockLostError(device, '', 'the engine forgot it'));
    expect(lock.signal.reason).toBeInstanceOf(LockLostError);
    expect(await child.closed).toMatchObject({ reason: 'lock-lost' });
    await lock.release();
    expect(backend.held.size).toBe(0);
  });

  test('that fails to release one of several lets the others go all the same', async () => {
    const backend = new MapBackend();
    const failing = releasingBy(backend, (lock) => lock.release().then(() => Promise.reject(new Error('engine away'))));
    const other = await SourceLock.acquire(tuner, { backend });
    await expect(SourceLock.acquire([device, 'hdhomerun:1', tuner], { backend: failing })).rejects.toThrow(
      'engine away',
    );
    expect([...backend.held.keys()]).toEqual([`url:${tuner}`]);
    await other.release();
  });

  test('that hangs when it releases is not waited for without end', async () => {
    const hanging = releasingBy(new MapBackend(), () => new Promise(() => {}));
    const lock = await SourceLock.acquire(tuner, { backend: hanging });
    await expect(lock.release({ timeoutMs: 50 })).rejects.toThrow('is not free 50 ms after its release began');
  });

  test('that fails fails the acquisition, and nothing is held', async () => {
    const backend = new MapBackend();
    const failing: LockBackend = {
      name: 'failing',
      inspect: (places) => backend.inspect(places),
      take: (place) => (place.key.includes('192') ? Promise.reject(new Error('engine away')) : backend.take(place)),
    };
    await expect(SourceLock.acquire([device, tuner], { backend: failing })).rejects.toThrow('engine away');
    expect(backend.held.size).toBe(0);
  });
});

describe('a lock directory', () => {
  const { at, dir } = lockSetting('kernel');

  test.each(['kernel', 'flock', 'lease'] as const)(
    'that is used by %s is refused to the others, which says what to do',
    async (first) => {
      await (await SourceLock.acquire(tuner, { ...at(), backend: first })).release();
      for (const backend of (['kernel', 'flock', 'lease'] as const).filter((each) => each !== first)) {
        const error = await SourceLock.acquire(device, { ...at(), backend }).catch((e) => e);
        expect(error).toBeInstanceOf(LockDirectoryError);
        expect(error.message).toContain(`backend: '${first}'`);
      }
    },
  );

  test('whose FORMAT was left empty by one that died is pinned by the next', async () => {
    writeFileSync(join(dir(), 'FORMAT'), '');
    await (await SourceLock.acquire(tuner, at())).release();
    await expect(SourceLock.acquire(tuner, { ...at(), backend: 'flock' })).rejects.toThrow("backend: 'kernel'");
  });

  test.each(['flock', 'lease'] as const)('of %s is looked at without naming the backend', async (backend) => {
    await using lock = await SourceLock.acquire(tuner, { ...at(), backend });
    expect(await SourceLock.list({ dir: dir() })).toMatchObject([{ key: lock.key, pid: process.pid }]);
    expect(await SourceLock.inspect(tuner, { dir: dir() })).toMatchObject({ pid: process.pid });
  });
});

test('where the addon can not be loaded, auto takes flock', async () => {
  const dir = temporaryDirectory();
  const program = startProgram(
    `import { registerHooks } from 'node:module';
     registerHooks({ resolve(name, context, next) {
       if (name === 'fs-native-extensions') throw new Error('no build for musl');
       return next(name, context);
     } });
     const { SourceLock } = await import('holdfast');
     const options = { dir: process.argv[1] };
     const lock = await SourceLock.acquire('hdhomerun:1234ABC2/v5.1', options);
     console.log((await SourceLock.tryAcquire('hdhomerun:1234ABC2/v5.1', options)).holder.pid === process.pid);
     await lock.release();
     console.log(await SourceLock.acquire('hdhomerun:1234ABC2/v5.1', { ...options, dir: options.dir + '/k', backend: 'kernel' }).catch((e) => e.message));`,
    {},
    [dir],
  );
  await program.says(/^true\n.*'flock'/);
  expect(await program.exit).toBe(0);
  await expect(SourceLock.acquire(tuner, { dir })).rejects.toThrow("backend: 'flock'");
});

test.each([
  [0x6969, undefined, 'NFS'],
  [0xff534d42, undefined, 'CIFS'],
  [0x01021997, undefined, '9P'],
  [0xef53, undefined, undefined],
  [0x01021994, undefined, undefined],
  [0x65735546, 'fuse.sshfs', 'fuse.sshfs'],
  [0x65735546, 'fuse.mergerfs', undefined],
  [0x65735546, 'fuseblk', undefined],
  [0x65735546, undefined, 'FUSE'],
])('a file system of type %i mounted as %s is a network one: %s', (type, mount, name) => {
  expect(nameOfFileSystem(type, () => mount)).toBe(name);
});

test('the lease of several identities is the one that ends first', async () => {
  const { at } = leaseSetting;
  await using lock = await SourceLock.acquire([tuner, device], { ...at(), backend: 'lease' });
  const renewed = new Promise<number>((resolve) => lock.lease?.onRenew(resolve));
  expect(lock.lease?.deadline).toBeGreaterThan(performance.now() + 5_000);
  expect(await renewed).toBe(lock.lease?.deadline);
  expect(lock.lease?.signal.aborted).toBe(false);
});

const leaseSetting = lockSetting('kernel');
