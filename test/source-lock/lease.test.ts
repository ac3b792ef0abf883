import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { LockDirectoryError, LockLostError } from 'holdfast';
import { afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { identityOf, self, surroundings } from '../../src/internal/proc.ts';
import type { LockPlace, TakenLock } from '../../src/source-lock/backend.ts';
import type { Entry } from '../../src/source-lock/lease/entry.ts';
import { Heartbeat } from '../../src/source-lock/lease/heartbeat.ts';
import { leaseBackend } from '../../src/source-lock/lease/lease-backend.ts';
import { LeaseDirectory } from '../../src/source-lock/lease/lease-directory.ts';
import { LeaseTerm } from '../../src/source-lock/lease/lease-term.ts';
import { exitCall, hasPerlThreads } from '../support/ending-thread.ts';
import { eventually } from '../support/eventually.ts';
import { endProcess, fixtureArguments, isRunning, startFixture } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { temporaryDirectory } from '../support/temporary.ts';

type OnEnd = (end: () => void | Promise<void>) => void;

/** As the tests of this package demand; the handlers of proper-lockfile came with its import and come once. */
beforeAll(async () => {
  await import('proper-lockfile');
  process.removeAllListeners('SIGTERM');
});

let place: LockPlace;
beforeEach(() => {
  place = newPlace(onTestFinished);
});

function newPlace(onEnd: OnEnd): LockPlace {
  return { key: 'url:http://tuner/', path: join(temporaryDirectory(onEnd), 'tuner.lock') };
}

const holder = (request: object = {}) => startFixture('lease-holder', [{ path: place.path, ...request }]);

async function take(waitMs?: number, where: LockPlace = place): Promise<TakenLock | undefined> {
  const backend = await leaseBackend();
  return backend.take(where, waitMs === undefined ? undefined : { deadline: performance.now() + waitMs });
}

async function named(where: LockPlace = place) {
  const [found] = await (await leaseBackend()).inspect([where]);
  return found;
}

/** Takes it and begins a tenure, which ends with the test. */
async function hold(where: LockPlace = place, onEnd: OnEnd = onTestFinished) {
  const lock = await take(undefined, where);
  if (!lock) throw new Error('another has it');
  onEnd(() => lock.release());
  return { lock, ...(await lock.begin('in the test')) };
}

const entriesOf = ({ path }: LockPlace) => readdirSync(`${path}.lease`);

/** Processes are hidden by mounting another /proc, which takes root and more, as a container may not have it. */
const canMount =
  process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'mount', '-t', 'proc', 'proc', '/proc']).status === 0;

const TOKEN = '11111111-2222-4333-8444-555555555555';
const DEAD_PID = 4_194_304; // above the greatest there is
const elsewhere = { host: 'elsewhere', bootId: 'another boot' };

/** What a holder leaves behind that is gone. */
function leaveBehind({ path, key }: LockPlace, meta: object = {}, fence = 7n): void {
  mkdirSync(join(`${path}.lease`, `held.${fence}.${TOKEN}`, TOKEN), { recursive: true });
  const started = new Date(0).toISOString();
  const dead = { pid: DEAD_PID, startTicks: 1, ...surroundings(), started, cmd: 'the dead', children: [] };
  writeFileSync(`${path}.meta`, JSON.stringify({ token: TOKEN, key, fence: String(fence), ...dead, ...meta }));
}

describe('a lease that is held', () => {
  test('is refused to another process, which learns who has it', async () => {
    const other = holder({ command: 'ffmpeg' });
    await other.next();
    expect(await take()).toBeUndefined();
    expect(await named()).toMatchObject({ ...place, pid: other.pid, host: hostname(), command: 'ffmpeg' });
    expect(await named()).toMatchObject({ verified: 'meta', startedAt: expect.stringMatching(/Z$/) });
    await other.kill();
  });

  test('is refused to the same process', async () => {
    await hold();
    expect(await take()).toBeUndefined();
    expect(await named()).toMatchObject({ pid: process.pid, command: 'in the test' });
  });

  test('has no name before its holder has said who it is, and is refused', async () => {
    const lock = await take();
    expect(await named()).toBeUndefined();
    expect(await take()).toBeUndefined();
    await lock?.release();
  });

  test('is free at the next try after its release, and leaves but the count of its tenures', async () => {
    const other = holder();
    const { fence } = await other.next();
    other.process.stdin?.write('release\n');
    expect(await other.next()).toBe('released');
    expect(readdirSync(dirname(place.path))).toEqual(['tuner.lock.lease']);
    expect(entriesOf(place)).toEqual([`free.${fence}`]);
    expect(readdirSync(join(`${place.path}.lease`, `free.${fence}`))).toEqual([]);
    expect(await named()).toBeUndefined();
    const next = await hold();
    expect(next.reclaimedFrom).toBeUndefined();
    await other.kill();
  });

  test('is released once, however often that is asked', async () => {
    const { lock } = await hold();
    await Promise.all([lock.release(), lock.release()]);
    const next = await hold();
    await lock.release();
    expect(await take()).toBeUndefined();
    expect(next.lock.lost.aborted).toBe(false);
  });

  test('is renewed, and tells what ends with it of its new deadline', async () => {
    const { lock } = await hold();
    const { deadline } = lock.lease as NonNullable<TakenLock['lease']>;
    expect(deadline - performance.now()).toBeGreaterThan(8_000);
    const renewed = new Promise<number>((resolve) => lock.lease?.onRenew(resolve));
    expect(await renewed).toBeGreaterThan(deadline + 2_000);
    expect(lock.lease?.deadline).toBe(await renewed);
    expect(lock.lease?.deadline).toBeLessThanOrEqual(performance.now() + 9_000);
  });

  test('can be shared by a group whatever the umask of the first user is', async () => {
    const umask = process.umask(0o077);
    try {
      await hold();
    } finally {
      process.umask(umask);
    }
    const lease = `${place.path}.lease`;
    const [entry] = entriesOf(place) as [string];
    const [beat] = readdirSync(join(lease, entry)) as [string];
    const modes = [lease, join(lease, entry), join(lease, entry, beat)].map((path) => statSync(path).mode & 0o777);
    expect(modes).toEqual([0o770, 0o770, 0o770]);
  });

  // Who is not the owner of a directory may not set its times. Needs root, to give the files away.
  test.runIf(process.getuid?.() === 0)('is taken and renewed after another user made its files', async () => {
    leaveBehind(place);
    const made = [`${place.path}.lease`, ...readdirSync(`${place.path}.lease`, { recursive: true, encoding: 'utf8' })];
    for (const each of made) {
      const path = each.startsWith('/') ? each : join(`${place.path}.lease`, each);
      chmodSync(path, 0o770);
      chownSync(path, 12_345, 0);
    }
    const request = [{ path: place.path }];
    const unprivileged = ['--bounding-set=-fowner,-dac_override', process.execPath];
    const other = spawn('setpriv', [...unprivileged, ...fixtureArguments('lease-holder', request)]);
    const [line] = await once(other.stdout, 'data');
    expect(JSON.parse(line)).toMatchObject({ taken: true });
    other.stdin.write('release\n');
    const [answer] = await once(other.stdout, 'data');
    expect(String(answer)).toBe('"released"\n');
    other.kill();
    await once(other, 'exit');
  });
});

describe('the holder', () => {
  test('that was killed is followed at the next try, and named', async () => {
    const other = holder({ command: 'the dead' });
    const { fence } = await other.next();
    await other.kill('SIGKILL');
    expect(await named()).toBeUndefined();
    const next = await hold();
    expect(next.reclaimedFrom).toMatchObject({ ...place, pid: other.pid, command: 'the dead', verified: 'meta' });
    expect(next.fence).toBeGreaterThan(BigInt(fence));
    expect(readdirSync(join(`${place.path}.lease`, entriesOf(place)[0] as string))).toHaveLength(1);
  });

  test('that died is told to the next if who took the lock let it go before its tenure began', async () => {
    leaveBehind(place);
    await (await take())?.release();
    expect((await hold()).reclaimedFrom).toMatchObject({ pid: DEAD_PID, command: 'the dead' });
  });

  test.each([
    ['another host', { host: 'elsewhere' }],
    ['another boot', { bootId: 'another boot' }],
    ['another pid namespace', { pidNamespace: '1' }],
    ['a process that lives', self()],
  ])('of %s is not followed at once', async (_, meta) => {
    leaveBehind(place, meta);
    expect(await take()).toBeUndefined();
    expect(await named()).toMatchObject({ command: 'the dead' });
  });

  test('with the pid of a later process is dead', async () => {
    leaveBehind(place, { pid: process.pid, startTicks: 1 });
    expect((await hold()).reclaimedFrom).toMatchObject({ pid: process.pid });
  });

  test.runIf(canMount)('that is hidden from who looks is not followed at once', async () => {
    const hidden = spawn('setpriv', ['--reuid=12345', '--clear-groups', 'sleep', '1000']);
    onTestFinished(() => endProcess(hidden.pid as number));
    await once(hidden, 'spawn');
    leaveBehind(place, identityOf(hidden.pid as number));
    const blinded = 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --regid=1 --clear-groups "$0" "$@"';
    const looking = ['--bounding-set=-sys_ptrace', process.execPath, ...fixtureArguments('lease-holder', [place])];
    const other = spawn('unshare', ['--mount', 'sh', '-c', blinded, ...looking]);
    const [line] = await once(other.stdout, 'data');
    expect(JSON.parse(line)).toEqual({ taken: false });
  });

  // A thread that outlives the main one needs a program in which that can end alone; by `exit`, as the kernel counts.
  test.runIf(exitCall && hasPerlThreads)('is not dead while one of its threads still ends', async () => {
    const program = `threads->create(sub { sleep 1000 }); print $$; STDOUT->flush; syscall(${exitCall}, 0)`;
    const ending = spawn('perl', ['-Mthreads', '-MIO::Handle', '-e', program]);
    const pid = ending.pid as number;
    onTestFinished(() => void ending.kill('SIGKILL'));
    await once(ending.stdout, 'data');
    await eventually(() => expect(isRunning(pid), 'as far as its main thread tells').toBe(false));
    leaveBehind(place, identityOf(pid));
    expect(await take()).toBeUndefined();
    ending.kill('SIGKILL');
    await eventually(async () => expect((await hold()).reclaimedFrom).toMatchObject({ pid }));
  });

  test('that left no sidecar of its own is not followed at once', async () => {
    leaveBehind(place, { token: 'another tenure' });
    expect(await take()).toBeUndefined();
    expect(await named()).toBeUndefined();
  });

  test('that is dead is not followed while a child lives that has the lock too, which is named', async () => {
    const other = holder({ child: true });
    const { child } = await other.next();
    onTestFinished(() => endProcess(child));
    await other.kill('SIGKILL');
    expect(await take()).toBeUndefined();
    expect(await named()).toMatchObject({ pid: child, orphanOf: other.pid, command: 'sleep 1000', children: [child] });
    await endProcess(child);
    expect((await hold()).reclaimedFrom).toMatchObject({ pid: other.pid });
  });

  test('that is dead is not followed while a process of the group of its child lives', async () => {
    const leader = spawn('sh', ['-c', 'sleep 1000 & echo $!'], { detached: true });
    const [line] = await once(leader.stdout, 'data');
    const left = Number(line);
    onTestFinished(() => endProcess(left));
    await once(leader, 'exit');
    leaveBehind(place, { children: [{ pid: leader.pid, startTicks: 1 }] });
    expect(await take()).toBeUndefined();
    expect(await named()).toMatchObject({ pid: left, orphanOf: DEAD_PID });
    await endProcess(left);
    await hold();
  });

  test.each([
    ['ends by itself', { ends: true }, 0],
    ['is ended by a signal', {}, 'SIGTERM'],
  ])('is not kept alive by its lease and frees it when it %s', async (_, request, end) => {
    const other = holder(request);
    const { fence } = await other.next();
    if (end) other.process.kill(end as NodeJS.Signals);
    expect(await other.exit).toBe(end);
    expect(entriesOf(place)).toEqual([`free.${fence}`]);
    expect(existsSync(`${place.path}.meta`)).toBe(false);
  });

  test('that ends by itself does not free the lock of a child that lives', async () => {
    const other = holder({ ends: true, child: true });
    const { child } = await other.next();
    onTestFinished(() => endProcess(child));
    expect(await other.exit).toBe(0);
    expect(await take()).toBeUndefined();
    expect(await named()).toMatchObject({ pid: child, orphanOf: other.pid });
  });
});

describe('waiting', () => {
  test('ends with the lock when the holder lets go', async () => {
    const first = await hold();
    const second = take(5_000);
    await first.lock.release();
    await (await second)?.release();
    expect(await second).toBeDefined();
  });

  test('ends without it at the deadline', async () => {
    await hold();
    const before = performance.now();
    expect(await take(120)).toBeUndefined();
    expect(performance.now() - before).toBeGreaterThanOrEqual(119);
  });

  test.each([
    ['while another has the lock', true],
    ['while it is being granted', false],
  ])('ends with the reason of an abort %s, and nothing is held', async (_, isHeld) => {
    const first = isHeld ? await hold() : undefined;
    const abort = new AbortController();
    const backend = await leaseBackend();
    const second = backend.take(place, { deadline: Number.POSITIVE_INFINITY, signal: abort.signal });
    const reason = new Error('viewer left');
    const before = performance.now();
    abort.abort(reason);
    await expect(second).rejects.toBe(reason);
    expect(performance.now() - before, 'it does not sleep on').toBeLessThan(promisedMs(240));
    await first?.lock.release();
    expect(entriesOf(place)).toEqual([expect.stringMatching(/^free\./)]);
  });

  test('does not begin after an abort', async () => {
    const backend = await leaseBackend();
    const signal = AbortSignal.abort(new Error('before'));
    await expect(backend.take(place, { deadline: 0, signal })).rejects.toThrow('before');
    expect(readdirSync(dirname(place.path))).toEqual([]);
  });
});

describe('a race', () => {
  const contend = () => Promise.all(Array.from({ length: 60 }, () => take()));

  test('for a lock that nobody ever had is won by one, and leaves nothing else', async () => {
    for (let round = 0; round < 5; round++) {
      const winners = (await contend()).filter((lock) => lock !== undefined);
      expect(winners).toHaveLength(1);
      expect(readdirSync(dirname(place.path))).toEqual(['tuner.lock.lease']);
      await winners[0]?.release();
      rmSync(`${place.path}.lease`, { recursive: true });
    }
  });

  test('for the lock of the dead is won by one, each time with a greater fence', async () => {
    let last = 7n;
    leaveBehind(place);
    for (let round = 0; round < 10; round++) {
      const winners = (await contend()).filter((lock) => lock !== undefined);
      expect(winners).toHaveLength(1);
      const { fence } = await (winners[0] as TakenLock).begin('the winner');
      expect(fence).toBeGreaterThan(last);
      last = fence;
      await winners[0]?.release();
      const [entry] = entriesOf(place) as [string];
      rmSync(join(`${place.path}.lease`, entry), { recursive: true });
      leaveBehind(place, {}, fence);
    }
  });

  test('between processes is won by one', async () => {
    leaveBehind(place);
    const others = Array.from({ length: 8 }, () => holder());
    const answers = await Promise.all(others.map((other) => other.next()));
    expect(answers.filter(({ taken }) => taken)).toHaveLength(1);
    await Promise.all(others.map((other) => other.kill()));
  });
});

test.each([
  ['is won if it was carried out', TOKEN, true],
  ['is lost if another has the lock', '11111111-2222-4333-8444-000000000000', false],
])('a claim that had to be sent again %s', async (_, token, isOurs) => {
  mkdirSync(join(`${place.path}.lease`, `held.7.${TOKEN}`), { recursive: true });
  const directory = new LeaseDirectory(place.path);
  const again = () => directory.claim({ fence: 0n }, { fence: 7n, token });
  expect(await again()).toBe(isOurs);
  expect(await again(), 'with the heartbeat made').toBe(isOurs);
});

describe('the fence', () => {
  test.each(['free', 'held'])('grows past the one of a %s entry that is ahead of the clock', async (state) => {
    const future = 9_999_999_999_999_999_999n;
    leaveBehind(place, {}, future);
    const lease = `${place.path}.lease`;
    if (state === 'free') renameSync(join(lease, `held.${future}.${TOKEN}`), join(lease, `free.${future}`));
    expect((await hold()).fence).toBe(future + 1n);
  });

  test('is the time in µs otherwise, and is in the sidecar', async () => {
    const before = BigInt(Date.now()) * 1000n;
    const { fence } = await hold();
    expect(fence).toBeGreaterThanOrEqual(before);
    const meta = JSON.parse(readFileSync(`${place.path}.meta`, 'utf8'));
    expect(meta).toMatchObject({ fence: String(fence), key: place.key, pid: process.pid, cmd: 'in the test' });
    expect(entriesOf(place)).toEqual([`held.${fence}.${meta.token}`]);
  });
});

describe('what is no lease', () => {
  const lease = () => `${place.path}.lease`;
  const refused = async () => take().catch((error) => error);

  test.each<[string, () => void, string]>([
    ['a file', () => writeFileSync(lease(), ''), 'is not a directory'],
    ['a link', () => symlinkSync(dirname(place.path), lease()), 'is not a directory'],
    ['a strange directory', () => mkdirSync(join(lease(), 'photos'), { recursive: true }), 'has photos in it'],
    ['a file in it', () => [mkdirSync(lease()), writeFileSync(join(lease(), 'free.1'), '')], 'has free.1 in it'],
    [
      'two entries',
      () => ['free.1', 'free.2'].map((name) => mkdirSync(join(lease(), name), { recursive: true })),
      'in it',
    ],
  ])('(%s) is refused with what to do about it, and is left alone', async (_, make, message) => {
    make();
    const before = readdirSync(dirname(place.path), { recursive: true });
    const error = await refused();
    expect(error).toBeInstanceOf(LockDirectoryError);
    expect(error).toMatchObject({ path: lease(), message: expect.stringContaining(message) });
    expect(error.message).toContain('move it away');
    await expect(named()).rejects.toBeInstanceOf(LockDirectoryError);
    expect(readdirSync(dirname(place.path), { recursive: true })).toEqual(before);
  });

  test.each([
    ['is missing', () => rmdirSync(dirname(place.path)), 'ENOENT'],
    ['is a file', () => [rmdirSync(dirname(place.path)), writeFileSync(dirname(place.path), '')], 'ENOTDIR'],
  ])('(a lock directory that %s) is refused in terms of the directory', async (_, make, code) => {
    make();
    const error = await refused();
    expect(error).toBeInstanceOf(LockDirectoryError);
    expect(error).toMatchObject({ message: expect.stringContaining(code) });
  });

  test('a sidecar that can not be written is an error, and the lock can be released', async () => {
    const lock = (await take()) as TakenLock;
    mkdirSync(join(`${place.path}.meta`, 'in the way'), { recursive: true });
    await expect(lock.begin('x')).rejects.toBeInstanceOf(LockDirectoryError);
    await lock.release();
    expect(entriesOf(place)).toEqual([expect.stringMatching(/^free\./)]);
  });
});

describe('the term of a lease', () => {
  beforeEach(() => void vi.useFakeTimers({ now: 0 }));
  afterEach(() => void vi.useRealTimers());

  const newTerm = (sentMs: number) => new LeaseTerm(sentMs, (why) => new LockLostError('key', '/path', why));

  test('ends 9 s after the last renewal was sent', () => {
    const start = performance.now();
    const term = newTerm(start);
    expect(term.deadline).toBe(start + 9_000);
    vi.advanceTimersByTime(5_000);
    term.renew(start + 2_500);
    expect(term.deadline).toBe(start + 11_500);
    vi.advanceTimersByTime(6_499);
    expect(term.signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(term.signal.reason).toBeInstanceOf(LockLostError);
    expect(term.signal.reason.message).toContain('not renewed in 9000 ms');
  });

  test('is over at its deadline although the timer is late, and a late answer renews nothing', () => {
    const start = performance.now();
    const term = newTerm(start);
    const renewed = vi.fn();
    term.onRenew(renewed);
    vi.setTimerTickMode('manual');
    vi.spyOn(performance, 'now').mockReturnValue(start + 9_000);
    term.renew(start + 8_999);
    expect(term.signal.aborted).toBe(true);
    expect(renewed).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  test('is lost for the first reason and not after the release', () => {
    const lost = newTerm(performance.now());
    lost.lose('first');
    lost.lose('second');
    expect(lost.signal.reason.message).toContain('first');
    const released = newTerm(performance.now());
    released.release();
    expect(vi.getTimerCount()).toBe(0);
    released.lose('too late');
    vi.advanceTimersByTime(60_000);
    expect(released.signal.aborted).toBe(false);
  });

  test('tells every listener until it is disposed of', () => {
    const term = newTerm(performance.now());
    const [one, other] = [vi.fn(), vi.fn()];
    const listening = term.onRenew(one);
    term.onRenew(other);
    term.renew(performance.now());
    listening[Symbol.dispose]();
    term.renew(performance.now());
    expect(one).toHaveBeenCalledTimes(1);
    expect(other).toHaveBeenCalledTimes(2);
  });
});

describe('the heartbeat', () => {
  const entry = { fence: 1n, token: TOKEN };

  /** Starts one on an entry that is as the test says. */
  async function start(read: () => Promise<Entry | undefined>) {
    const beat = dirname(place.path);
    const reads = vi.fn(read).mockResolvedValueOnce(entry);
    const directory = { beat: () => beat, claim: async () => true, free: async () => {}, read: reads };
    const term = new LeaseTerm(performance.now(), (why) => new LockLostError('key', '/path', why));
    onTestFinished(() => term.release());
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const heartbeat = new Heartbeat(directory as unknown as LeaseDirectory, entry, term);
    await heartbeat.start({ fence: 0n }, () => {});
    return { heartbeat, term, reads, renewedMs: () => statSync(beat).mtimeMs };
  }

  test('sends nothing more once the lease is over', async () => {
    const { term, renewedMs } = await start(async () => {
      queueMicrotask(() => term.lose('in between'));
      return entry;
    });
    const before = renewedMs();
    const asked = vi.spyOn(term, 'isOver');
    vi.advanceTimersByTime(2_500);
    vi.useRealTimers();
    await eventually(() => expect(asked, 'before it looks and before it sends').toHaveBeenCalledTimes(2));
    expect(asked).toHaveLastReturnedWith(true);
    expect(renewedMs()).toBe(before);
  });

  test('that is ended while it looks ends quietly, whatever it sees', async () => {
    const looking = Promise.withResolvers<undefined>();
    const { heartbeat, term, reads } = await start(() => looking.promise);
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    onTestFinished(() => void process.off('unhandledRejection', unhandled));
    vi.advanceTimersByTime(2_500);
    expect(reads).toHaveBeenCalledTimes(2);
    term.release();
    await heartbeat.end();
    looking.reject(Object.assign(new Error('the file system fails'), { code: 'EIO' }));
    await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).not.toHaveBeenCalled();
    expect(term.signal.aborted).toBe(false);
  });
});

// Each takes more than 10 s, so they do it at the same time.
describe.concurrent('in the course of time', () => {
  const start = (where: LockPlace, request: object = {}) =>
    startFixture('lease-holder', [{ path: where.path, ...request }]);

  test('a holder of another host that is silent is followed by one, 10 s after it was seen', async (context) => {
    const where = newPlace(context.onTestFinished);
    leaveBehind(where, elsewhere);
    const before = performance.now();
    const contend = async () => ({ lock: await take(11_500, where), waitedMs: performance.now() - before });
    const answers = await Promise.all(Array.from({ length: 20 }, contend));
    const [winner, ...others] = answers.filter(({ lock }) => lock !== undefined);
    expect(others).toEqual([]);
    expect(winner?.waitedMs).toBeGreaterThanOrEqual(10_000);
    const tenure = await winner?.lock?.begin('the winner');
    expect(tenure?.reclaimedFrom).toMatchObject({ pid: DEAD_PID, host: 'elsewhere' });
    await winner?.lock?.release();
  });

  test('a holder of another host that beats keeps the lock, whatever the clocks say', async (context) => {
    const where = newPlace(context.onTestFinished);
    const HOUR_MS = 3_600_000;
    const other = start(where, { clockShiftMs: -HOUR_MS });
    await other.next();
    const meta = JSON.parse(readFileSync(`${where.path}.meta`, 'utf8'));
    writeFileSync(`${where.path}.meta`, JSON.stringify({ ...meta, ...elsewhere }));
    const ahead = start(where, { clockShiftMs: HOUR_MS, waitMs: 12_000 });
    const behind = start(where, { clockShiftMs: -2 * HOUR_MS, waitMs: 12_000 });
    expect(await take(12_000, where)).toBeUndefined();
    expect(await ahead.next()).toEqual({ taken: false });
    expect(await behind.next()).toEqual({ taken: false });
    expect(await named(where)).toMatchObject({ pid: other.pid, host: 'elsewhere' });
    other.process.stdin?.write('release\n');
    expect(await other.next(), 'it lost nothing before').toBe('released');
    await other.kill();
  });

  test('a holder that was stopped is told of its loss when it goes on, and disturbs the next no more', async (context) => {
    const where = newPlace(context.onTestFinished);
    const other = start(where, { command: 'the stopped' });
    await other.next();
    other.process.kill('SIGSTOP');
    const lock = (await take(13_000, where)) as TakenLock;
    const { reclaimedFrom } = await lock.begin('the next');
    expect(reclaimedFrom).toMatchObject({ pid: other.pid });
    const before = performance.now();
    other.process.kill('SIGCONT');
    expect(await other.next()).toMatchObject({ code: 'HOLDFAST_LOCK_LOST', lost: expect.stringContaining('hung') });
    expect(performance.now() - before).toBeLessThan(promisedMs(1_000));
    other.process.stdin?.write('release\n');
    expect(await other.next()).toBe('released');
    expect(await named(where)).toMatchObject({ pid: process.pid, command: 'the next' });
    expect(await take(undefined, where)).toBeUndefined();
    const renewed = new Promise((resolve) => lock.lease?.onRenew(resolve));
    await renewed;
    expect(lock.lost.aborted).toBe(false);
    await lock.release();
    await other.kill();
  });

  test('a holder whose lease was removed is told so, and nobody follows before', async (context) => {
    const where = newPlace(context.onTestFinished);
    const { lock } = await hold(where, context.onTestFinished);
    rmSync(`${where.path}.lease`, { recursive: true });
    expect(await take(undefined, where)).toBeUndefined();
    expect(await named(where)).toMatchObject({ pid: process.pid });
    await eventually(() => expect(lock.lost.aborted).toBe(true));
    expect(lock.lost.reason).toBeInstanceOf(LockLostError);
    expect(lock.lost.reason.message).toContain('claimed by another, or removed');
    expect(await take(undefined, where)).toBeUndefined();
    await lock.release();
    const next = await take(undefined, where);
    expect(next).toBeDefined();
    await next?.release();
  });

  test('a holder that can not renew loses the lock before anybody may follow', async (context) => {
    const where = newPlace(context.onTestFinished);
    const { lock } = await hold(where, context.onTestFinished);
    const { deadline } = lock.lease as NonNullable<TakenLock['lease']>;
    const inTheWay = join(`${where.path}.lease`, 'in the way');
    mkdirSync(inTheWay);
    await eventually(() => expect(lock.lost.aborted).toBe(true), 10_000);
    expect(performance.now() - deadline).toBeLessThan(1_000);
    expect(lock.lost.reason.message).toContain('not renewed');
    await expect(lock.begin('too late')).rejects.toBe(lock.lost.reason);
    rmdirSync(inTheWay);
    await lock.release();
    expect(entriesOf(where)).toEqual([expect.stringMatching(/^free\./)]);
  });
});
