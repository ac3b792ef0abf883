import { ManagedChild, SourceLock } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { fixtureArguments } from '../support/processes.ts';
import { backends, device, lockSetting, tuner } from './support.ts';

/** What `holdfast run` does: a program that holds its lock and is told by which descriptor. */
async function wrapped(lock: SourceLock, request: object, shell = '"$0" "$@"') {
  const args = fixtureArguments('holder', [request]);
  const env = { ...process.env, HOLDFAST_HELD: '60' };
  const child = await ManagedChild.spawn('sh', ['-c', shell, process.execPath, ...args], {
    holds: lock,
    env,
    stdin: 'pipe',
    stderr: 'inherit',
    graceMs: 500,
  });
  const lines: string[] = [];
  let rest = '';
  child.stdout?.on('data', (chunk) => {
    rest += chunk;
    const parts = rest.split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  });
  return {
    child,
    // biome-ignore lint/suspicious/noExplicitAny: what the fixture says
    next: (): Promise<any> =>
      eventually(() => {
        expect(lines).not.toEqual([]);
        return JSON.parse(lines.shift() as string);
      }, 15_000),
  };
}

describe.each(backends)('a process that a wrapper started under a lock, over %s,', (backend) => {
  const { at, busy } = lockSetting(backend);

  test('adopts the lock instead of being refused by its wrapper, by a shell in between too', async () => {
    await using lock = await SourceLock.acquire(tuner, at());
    const { child, next } = await wrapped(lock, { source: tuner, options: at() });
    const adopted = await next();
    expect(adopted).toMatchObject({ acquired: true, key: lock.key, path: lock.path });
    expect(BigInt(adopted.fence)).toBeGreaterThan(lock.fence);
    expect((await busy()).holder).toMatchObject({ pid: process.pid, children: [child.pid] });
    child.stdin?.write('release\n');
    expect(await next()).toBe('released');
    expect(await busy()).toMatchObject({ code: 'HOLDFAST_SOURCE_BUSY' });
  });

  test('is the only one of all that were started there', async () => {
    await using lock = await SourceLock.acquire(tuner, at());
    const two = 'exec 3<&0; "$0" "$@" <&3 & "$0" "$@" <&3; wait';
    const { next } = await wrapped(lock, { source: tuner, options: at() }, two);
    const answers = [await next(), await next()];
    expect(answers.map(({ acquired }) => acquired).sort()).toEqual([false, true]);
  });

  test('is refused a lock that its wrapper does not have, and takes one that is free', async () => {
    await using lock = await SourceLock.acquire(tuner, at());
    const other = await SourceLock.acquire(device, at());
    const first = await wrapped(lock, { source: device, options: at() });
    expect(await first.next()).toMatchObject({ acquired: false, holder: { pid: process.pid } });
    await other.release();
    const second = await wrapped(lock, { source: device, options: at() });
    expect(await second.next()).toMatchObject({ acquired: true, key: `url:${device}` });
  });

  test('leaves the fence growing for who comes after the wrapper', async () => {
    const lock = await SourceLock.acquire(tuner, at());
    const { next } = await wrapped(lock, { source: tuner, options: at() });
    const { fence } = await next();
    await lock[Symbol.asyncDispose]();
    await using after = await SourceLock.acquire(tuner, at());
    expect(after.fence).toBeGreaterThan(BigInt(fence));
    expect(after.reclaimedFrom).toBeUndefined();
  });
});

/** The descriptors of this process's own locks are among them. */
const ALL = Array.from({ length: 100 }, (_, descriptor) => descriptor).join(',');

test('HOLDFAST_HELD alone, without the descriptor, is no lock', async () => {
  const { at, holder } = setting;
  await using _lock = await SourceLock.acquire(tuner, at());
  for (const HOLDFAST_HELD of ['60', '0,1,2', 'x', '-1', '99999999999', ALL]) {
    process.env.HOLDFAST_HELD = HOLDFAST_HELD;
    try {
      expect(await SourceLock.tryAcquire(tuner, at())).toMatchObject({ acquired: false });
      const other = holder();
      expect(await other.next()).toMatchObject({ acquired: false });
      await other.exit;
    } finally {
      delete process.env.HOLDFAST_HELD;
    }
  }
});

const setting = lockSetting('kernel');
