import { setTimeout as sleep } from 'node:timers/promises';
import { ChildExitError, LeaseExpiredError, ManagedChild } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { hostNow } from '../../src/internal/time.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { ManualLease } from '../support/manual-lease.ts';
import { childrenOf, guardOf, isRunning, startFixture, startProgram } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';

const STUBBORN = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
const WITH_ESCAPEE = 'setsid sh -c "trap \'\' TERM; echo \\$\\$; while :; do sleep 0.05; done" & echo $$; wait';
/** The leader obeys, and leaves one that doesn't. */
const LEAVING_AN_ESCAPEE = `setsid sh -c "trap '' TERM; echo \\$\\$; while :; do sleep 0.05; done" & echo $$; exec sleep 300`;
const GROUP = { containment: 'group' };
const stubborn = (lease: ManualLease, options = {}) =>
  ManagedChild.spawn('sh', ['-c', STUBBORN], {
    lease,
    ready: { when: 'stdout', timeoutMs: promisedMs(5_000) },
    ...options,
  });

/** How late after its deadline a tree may live, and how early it may be dead. */
const TOLERANCE_MS = 50;

/**
 * How long after `deadline`, by {@link hostNow}, the last of them was gone; seen to a millisecond or two. It looks for one
 * after the other: one that looked for all of them each time would need a core, and be kept waiting for it.
 */
async function lateness(pids: readonly number[], deadline: number): Promise<number> {
  const limit = performance.now() + promisedMs(10_000);
  for (const pid of pids) {
    while (isRunning(pid)) {
      expect(performance.now()).toBeLessThan(limit);
      await sleep(1);
    }
  }
  return hostNow() - deadline;
}

function expectPunctual(lateMs: number): void {
  expect(lateMs).toBeGreaterThan(-TOLERANCE_MS);
  expect(lateMs).toBeLessThan(promisedMs(TOLERANCE_MS));
}

describe('a tree under a lease', () => {
  test('is killed at its deadline, without grace, and says why', async () => {
    const child = await stubborn(new ManualLease(400), { graceMs: 60_000 });
    const lease = new ManualLease(300);
    const second = await stubborn(lease, { graceMs: 60_000 });
    expectPunctual(await lateness([second.pid], lease.hostDeadline));
    expect(await second.closed).toMatchObject({ reason: 'lease-expired', signal: 'SIGKILL' });
    expect(await child.closed).toMatchObject({ reason: 'lease-expired', signal: 'SIGKILL' });
    expect(lease.listeners).toBe(0);
  });

  test('lives as long as it is renewed, and ends when that stops', async () => {
    const lease = new ManualLease(promisedMs(200));
    const child = await stubborn(lease);
    const renewing = setInterval(() => lease.renew(promisedMs(200)), 40);
    await throughout(1_000, () => expect(isRunning(child.pid)).toBe(true));
    clearInterval(renewing);
    expect(await child.closed).toMatchObject({ reason: 'lease-expired' });
    expect(performance.now()).toBeGreaterThan(lease.deadline - TOLERANCE_MS);
  });

  test('lives on when it is renewed many times in one turn', async () => {
    const lease = new ManualLease(promisedMs(300));
    const child = await stubborn(lease);
    for (let round = 0; round < 20; round++) lease.renew(promisedMs(300));
    lease.renew(60_000);
    await throughout(promisedMs(600), () => expect(isRunning(child.pid)).toBe(true));
    lease.renew(0);
    await child.closed;
  });

  test('lives on when it is renewed in the last moment', async () => {
    const lease = new ManualLease(promisedMs(600));
    const child = await stubborn(lease);
    const keeper = keeperOf(process.pid);
    const { deadline } = lease;
    await eventually(() => expect(performance.now()).toBeGreaterThan(deadline - promisedMs(50)), promisedMs(5_000));
    // It reads of it only when the deadline is over.
    process.kill(keeper, 'SIGSTOP');
    lease.renew(60_000);
    await eventually(() => expect(performance.now()).toBeGreaterThan(deadline + promisedMs(50)));
    process.kill(keeper, 'SIGCONT');
    await throughout(200, () => expect(isRunning(child.pid)).toBe(true));
    lease.lose(new Error('enough'));
    await child.closed;
  });

  test('lives on where the PATH has no sleep', async () => {
    // Its loop needs a sleep of its own, which this process has.
    const script = 'echo $$; read -r _ < /dev/zero';
    const owner = startFixture('leased', [{ script, leaseMs: 60_000, noPath: true, options: { graceMs: 100 } }]);
    const { pids, guard } = await owner.next();
    expect(pids.filter(isRunning)).toHaveLength(1);
    expect(isRunning(guard)).toBe(true);
    await owner.kill();
    await lateness(pids, 0);
  });

  test('that ends by itself leaves neither timer nor listener', async () => {
    const lease = new ManualLease(60_000);
    const child = await ManagedChild.spawn('true', [], { lease });
    expect(await child.closed).toMatchObject({ reason: 'exited', code: 0 });
    expect(lease.listeners).toBe(0);
    await eventually(() => expect(childrenOf(guardOf(process.pid))).toEqual([]));
  });

  test('is asked to end when the lease is lost before its deadline', async () => {
    const lease = new ManualLease(60_000);
    const child = await ManagedChild.spawn('sh', ['-c', "trap 'exit 3' TERM; echo; while :; do sleep 0.01; done"], {
      lease,
      ready: { when: 'stdout', timeoutMs: promisedMs(5_000) },
    });
    lease.lose(new Error('taken'));
    expect(await child.closed).toMatchObject({ reason: 'lease-expired', code: 3 });
  });

  test('is not given a longer grace than the lease has left', async () => {
    const lease = new ManualLease(400);
    const child = await stubborn(lease, { graceMs: 60_000 });
    const ended = child.terminate();
    expectPunctual(await lateness([child.pid], lease.hostDeadline));
    expect(await ended).toMatchObject({ reason: 'terminated', signal: 'SIGKILL' });
  });

  test('is not started when the lease has ended, or was lost', async () => {
    const error = await ManagedChild.spawn('true', [], { lease: new ManualLease(-5) }).catch((e) => e);
    expect(error).toBeInstanceOf(LeaseExpiredError);
    expect(error).toMatchObject({ code: 'HOLDFAST_LEASE_EXPIRED' });
    expect(error.message).toMatch(/cannot start true: its lease ended \d+ ms ago/);
    const reason = new Error('taken');
    const lost = new ManualLease(60_000);
    lost.lose(reason);
    await expect(ManagedChild.spawn('true', [], { lease: lost })).rejects.toBe(reason);
  });

  test('that is not ready when the lease ends is a failed start', async () => {
    const starting = ManagedChild.spawn('sleep', ['300'], {
      lease: new ManualLease(150),
      ready: { when: 'stdout', timeoutMs: 60_000 },
    });
    const error = await starting.catch((e) => e);
    expect(error).toBeInstanceOf(ChildExitError);
    expect(error.exit.reason).toBe('lease-expired');
  });

  test.each([
    [{}, 'lease must have deadline, signal and onRenew'],
    [{ ...lease(), deadline: 'soon' }, 'lease.deadline must be a time of the monotonic clock in ms, received "soon"'],
    [{ ...lease(), deadline: Number.NaN }, 'lease.deadline'],
  ])('refuses what is no lease: %j', async (bad, message) => {
    await expect(ManagedChild.spawn('true', [], { lease: bad as never })).rejects.toThrow(message);
  });
});

function lease() {
  return { deadline: 0, signal: new AbortController().signal, onRenew: () => ({ [Symbol.dispose]() {} }) };
}

describe('the guard ends a tree at the deadline of its lease', () => {
  test.each([
    ['one process', STUBBORN, 1],
    ['with a process in another session', WITH_ESCAPEE, 2],
  ])('while the event loop of its owner is blocked: %s', async (_, script, lines) => {
    for (const containment of ['group', 'cgroup']) {
      const options = { containment };
      if (containment === 'cgroup' && process.getuid?.() !== 0) continue;
      const owner = startFixture('leased', [{ script, lines, leaseMs: 500, blockMs: 1_500, options }]);
      const { pids, deadline } = await owner.next();
      expectPunctual(await lateness(pids, deadline));
      expect(await owner.next()).toMatchObject({ reason: 'lease-expired', signal: 'SIGKILL' });
      await owner.kill();
    }
  });

  test('and says why, also if its owner comes back and renews too late', async () => {
    const owner = startFixture('leased', [{ script: STUBBORN, leaseMs: 500, blockMs: 1_000, renewEveryMs: 100 }]);
    const { pids, deadline } = await owner.next();
    expectPunctual(await lateness(pids, deadline));
    expect(await owner.next()).toMatchObject({ reason: 'lease-expired', signal: 'SIGKILL' });
    await owner.kill();
  });

  test('while its owner is stopped', async () => {
    const owner = startFixture('leased', [{ script: STUBBORN, leaseMs: 500 }]);
    const { pids, deadline } = await owner.next();
    owner.process.kill('SIGSTOP');
    expectPunctual(await lateness(pids, deadline));
    owner.process.kill('SIGCONT');
    expect(await owner.next()).toMatchObject({ reason: 'lease-expired', signal: 'SIGKILL' });
    await owner.kill();
  });

  test.each([
    ['at once', 0],
    ['one after the other', 3],
  ])('of 50 that end %s, while their owner is stopped', async (_, apartMs) => {
    const owner = startProgram(`
      import { ManagedChild } from 'holdfast';
      import { ManualLease } from './test/support/manual-lease.ts';
      const options = { containment: 'group', stdout: 'ignore', stderr: 'ignore' };
      const leases = Array.from({ length: 50 }, () => new ManualLease(60_000));
      const children = [];
      for (const lease of leases) children.push(await ManagedChild.spawn('sleep', ['300'], { ...options, lease }));
      for (const [index, lease] of leases.entries()) lease.renew(3_000 + index * ${apartMs});
      const deadlines = leases.map(({ hostDeadline }) => hostDeadline);
      console.log(JSON.stringify(children.map(({ pid }, index) => [pid, deadlines[index]])));
      const exits = await Promise.all(children.map(({ closed }) => closed));
      console.log(...new Set(exits.map(({ reason }) => reason)));
      process.exit();
    `);
    const children: [pid: number, deadline: number][] = JSON.parse(await owner.says(/\n/));
    expect(children).toHaveLength(50);
    owner.process.kill('SIGSTOP');
    for (const [pid, deadline] of children) expectPunctual(await lateness([pid], deadline));
    owner.process.kill('SIGCONT');
    await owner.says(/\nlease-expired\n$/);
    await owner.exit;
  });

  test.each([
    ['one process', STUBBORN, 1],
    ['with a process in another session', LEAVING_AN_ESCAPEE, 2],
  ])('in the grace after its owner was killed: %s', async (_, script, lines) => {
    const options = { ...GROUP, graceMs: 60_000 };
    const owner = startFixture('leased', [{ script, lines, leaseMs: promisedMs(700), options }]);
    const { pids, deadline } = await owner.next();
    await owner.kill();
    expectPunctual(await lateness(pids, deadline));
  });

  test('also when it is the second guard, to which the lease was sent anew', async () => {
    const owner = startFixture('leased', [{ script: STUBBORN, leaseMs: 1_000 }]);
    const { pids, guard, deadline } = await owner.next();
    process.kill(guard, 'SIGKILL');
    await eventually(() => expect(guardOf(owner.pid)).not.toBe(guard));
    owner.process.kill('SIGSTOP');
    process.kill(keeperOf(owner.pid), 'SIGKILL');
    expectPunctual(await lateness(pids, deadline));
    await owner.kill();
  });

  test('even if it was killed itself while its owner was stopped', async () => {
    const owner = startFixture('leased', [{ script: STUBBORN, leaseMs: 700 }]);
    const { pids, guard, deadline } = await owner.next();
    owner.process.kill('SIGSTOP');
    for (const pid of [guard, keeperOf(owner.pid)]) process.kill(pid, 'SIGKILL');
    expectPunctual(await lateness(pids, deadline));
    owner.process.kill('SIGCONT');
    expect(await owner.next()).toMatchObject({ reason: 'lease-expired' });
    await owner.kill();
  });

  test('and the timers of a guard that was killed do not, when the lease was renewed since', async () => {
    const renewed = { leaseMs: promisedMs(400), renewEveryMs: 50 };
    const owner = startFixture('leased', [{ script: WITH_ESCAPEE, lines: 2, ...renewed }]);
    const { pids, guard } = await owner.next();
    process.kill(guard, 'SIGKILL');
    await throughout(promisedMs(1_000), () => expect(pids.filter(isRunning)).toEqual(pids));
    await owner.kill();
    await lateness(pids, 0);
  });

  test('by a second keeper, if the first was killed', async () => {
    const owner = startFixture('leased', [
      { script: WITH_ESCAPEE, lines: 2, leaseMs: promisedMs(800), options: GROUP },
    ]);
    const { pids, deadline } = await owner.next();
    const first = keeperOf(owner.pid);
    process.kill(first, 'SIGKILL');
    await eventually(() => expect(keeperOf(owner.pid)).not.toBe(first));
    owner.process.kill('SIGSTOP');
    expectPunctual(await lateness(pids, deadline));
    await owner.kill();
  });

  test('by itself, as far as the group goes, if the keeper was killed while its owner was stopped', async () => {
    const owner = startFixture('leased', [{ script: STUBBORN, leaseMs: promisedMs(700), options: GROUP }]);
    const { pids, deadline } = await owner.next();
    owner.process.kill('SIGSTOP');
    process.kill(keeperOf(owner.pid), 'SIGKILL');
    expectPunctual(await lateness(pids, deadline));
    owner.process.kill('SIGCONT');
    expect(await owner.next()).toMatchObject({ reason: 'lease-expired' });
    await owner.kill();
  });
});

/** The process that ends what has left its group. */
function keeperOf(owner: number): number {
  const [keeper] = childrenOf(owner).filter(({ command }) => command.includes('HOLDFAST_PROGRAM'));
  if (!keeper) throw new Error(`process ${owner} has no lease keeper`);
  return keeper.pid;
}
