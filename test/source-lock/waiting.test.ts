import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import addon from 'fs-native-extensions';
import { SourceBusyError, SourceLock } from 'holdfast';
import { describe, expect, test } from 'vitest';
import type { DebianProgram } from '../support/debian.ts';
import { eventually } from '../support/eventually.ts';
import { childrenOf, openDescriptors } from '../support/processes.ts';
import { patienceMs, promisedMs } from '../support/promised.ts';
import { straceProgram, watchCalls } from '../support/system-calls.ts';
import { backends, device, lockSetting, tuner } from './support.ts';

const strace = await straceProgram();

describe.each(backends)('waiting over %s', (backend) => {
  const { at, holder } = lockSetting(backend);

  test('ends with the lock when the holder lets go', async () => {
    const first = await SourceLock.acquire(tuner, at());
    const second = SourceLock.acquire(tuner, { ...at(), timeoutMs: promisedMs(5_000) });
    await first.release();
    await (await second).release();
  });

  test('ends with the lock soon after the holder was killed', async () => {
    const other = holder();
    await other.next();
    const next = SourceLock.acquire(tuner, { ...at(), timeoutMs: promisedMs(10_000), onWarning: () => {} });
    // The wait has begun when the second try has been refused.
    await expect(SourceLock.acquire(tuner, { ...at(), timeoutMs: 30 })).rejects.toBeInstanceOf(SourceBusyError);
    const before = performance.now();
    await other.kill('SIGKILL');
    await using _lock = await next;
    expect(performance.now() - before).toBeLessThan(promisedMs(200));
  });

  test('ends with SourceBusyError after timeoutMs', async () => {
    await using _lock = await SourceLock.acquire(tuner, at());
    const before = performance.now();
    await expect(SourceLock.acquire(tuner, { ...at(), timeoutMs: 120 })).rejects.toBeInstanceOf(SourceBusyError);
    expect(performance.now() - before).toBeGreaterThanOrEqual(119);
  });

  test('ends with the reason of an abort, and nothing is held or left behind', async () => {
    const first = await SourceLock.acquire([tuner, device], at());
    const before = openDescriptors();
    const reason = new Error('viewer left');
    for (let round = 0; round < 5; round++) {
      const abort = new AbortController();
      const { signal } = abort;
      const second = SourceLock.acquire([tuner, device], { ...at(), timeoutMs: 60_000, signal });
      setTimeout(() => abort.abort(reason), round * 10);
      await expect(second).rejects.toBe(reason);
    }
    expect(openDescriptors()).toBe(before);
    await eventually(() => expect(childrenOf(process.pid).filter(({ command }) => /flock/.test(command))).toEqual([]));
    await first.release();
    await (await SourceLock.acquire([tuner, device], at())).release();
  });

  test('of many gives each the lock once, and no two at a time', async () => {
    let holding = 0;
    const turns = Array.from({ length: 16 }, async () => {
      const lock = await SourceLock.acquire(tuner, { ...at(), timeoutMs: patienceMs(30_000) });
      holding += 1;
      expect(holding).toBe(1);
      await new Promise(setImmediate);
      holding -= 1;
      await lock.release();
    });
    await Promise.all(turns);
  });

  test('comes to its end although another takes the lock again as soon as it let go', async () => {
    let isOver = false;
    const hog = (async () => {
      while (!isOver) await (await SourceLock.acquire(tuner, { ...at(), timeoutMs: patienceMs(30_000) })).release();
    })();
    for (let turn = 0; turn < 5; turn++) {
      await (await SourceLock.acquire(tuner, { ...at(), timeoutMs: promisedMs(3_000) })).release();
    }
    isOver = true;
    await hog;
  });
});

describe('waiting', () => {
  const { at, dir, holder } = lockSetting('kernel');
  const someoneIsNext = (path: string) =>
    readFileSync('/proc/locks', 'utf8').includes(`:${statSync(path).ino} 1152921504606846976 `);

  test('for several identities is for the one that is held, and takes none before it has all', async () => {
    const first = await SourceLock.acquire(tuner, at());
    const both = SourceLock.acquire([tuner, device], { ...at(), timeoutMs: promisedMs(10_000) });
    await eventually(() => expect(someoneIsNext(first.path)).toBe(true));
    await (await SourceLock.acquire(device, at())).release();
    await first.release();
    await using lock = await both;
    expect(lock.keys).toHaveLength(2);
  });

  test('comes to its end although another tries again and again without waiting', async () => {
    let isOver = false;
    const hog = (async () => {
      while (!isOver) {
        const answer = await SourceLock.tryAcquire(tuner, at());
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (answer.acquired) await answer.lock.release();
      }
    })();
    for (let turn = 0; turn < 5; turn++) {
      await (await SourceLock.acquire(tuner, { ...at(), timeoutMs: promisedMs(500) })).release();
    }
    isOver = true;
    await hog;
  });

  test('does not hold up the others when one that is the next is stopped', async () => {
    const first = await SourceLock.acquire(tuner, at());
    const stopped = holder({ options: { timeoutMs: 60_000 } });
    await eventually(() => expect(someoneIsNext(first.path)).toBe(true), patienceMs(15_000));
    stopped.process.kill('SIGSTOP');
    const second = SourceLock.acquire(tuner, { ...at(), timeoutMs: promisedMs(5_000) });
    await first.release();
    await (await second).release();
    await stopped.kill('SIGKILL');
  });

  test.skipIf(!strace)('is respected by one that does not wait: it takes nothing only to give it back', async () => {
    const first = await SourceLock.acquire(tuner, at());
    await first.release();
    // One that waits and is stopped.
    const descriptor = openSync(first.path, 'r+');
    addon.tryLock(descriptor, 2 ** 60, 1);
    const watched = { directory: dir(), fixture: 'lock-tenure', traced: '?fcntl,%file', env: {} };
    const request = { source: tuner, options: at(), elsewhere: join(dir(), 'elsewhere') };
    const { calls } = await watchCalls(strace as DebianProgram, { ...watched, request });
    closeSync(descriptor);
    const lines = calls.map(({ line }) => line);
    const [begin, held] = ['begin', 'held'].map((mark) => lines.findIndex((line) => line.includes(`/mark-${mark}`)));
    const locks = lines.slice(begin, held).filter((line) => line.includes('OFD_SETLK'));
    expect(locks.filter((line) => line.includes('l_start=0,'))).toEqual([expect.stringContaining('F_WRLCK')]);
    expect(locks.length).toBeGreaterThan(10);
  });
});
