import { ClosedError, ManagedChild, SourceBusyError, SourceLock } from 'holdfast';
import { expect, test } from 'vitest';

import { lockSetting, tuner } from './support.ts';

const { at, busy, holder } = lockSetting('kernel');

test('an onWarning that throws whatever it likes does not lose the lock', async () => {
  const dead = holder();
  await dead.next();
  await dead.kill('SIGKILL');
  const warned = new Promise((resolve) => process.once('warning', resolve));
  const onWarning = () => {
    throw 'not an error';
  };
  await using _lock = await SourceLock.acquire(tuner, { ...at(), onWarning });
  expect(await warned).toMatchObject({ message: 'onWarning failed: not an error' });
  expect(await busy()).toBeInstanceOf(SourceBusyError);
});

test.each([
  [{ timeoutMs: Number.NaN }, 'timeoutMs'],
  [{ signal: {} }, 'signal'],
  [{ force: true }, 'has no option force'],
])('the option %j of release is refused by name, and the lock stays', async (options, message) => {
  await using lock = await SourceLock.acquire(tuner, at());
  await expect(lock.release(options as object)).rejects.toThrow(message);
  expect(await busy()).toBeInstanceOf(SourceBusyError);
});

test.each([
  [{ timeoutMs: -1 }, 'timeoutMs'],
  [{ timeoutMs: 'soon' }, 'timeoutMs'],
  [{ dir: '' }, 'dir'],
  [{ backend: 'proper' }, "backend must be 'auto', 'kernel', 'flock', 'lease' or a LockBackend, received \"proper\""],
  [{ onWarnings: () => {} }, 'has no option onWarnings'],
])('the option %j is refused by name', async (options, message) => {
  await expect(SourceLock.acquire(tuner, { ...at(), ...(options as object) })).rejects.toThrow(message);
});

test('release is idempotent, and a lock that is released can not be given to a child', async () => {
  const lock = await SourceLock.acquire(tuner, at());
  await Promise.all([lock.release(), lock.release()]);
  await lock.release();
  await expect(ManagedChild.spawn('true', [], { holds: lock })).rejects.toBeInstanceOf(ClosedError);
});
