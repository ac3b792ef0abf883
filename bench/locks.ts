// What a lock costs, beside what it is made of and what else there is.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import untypedAddon from 'fs-native-extensions';
import { SourceLock } from 'holdfast';
import lockfile from 'proper-lockfile';
import { compare, ofFirst, ofOurs, ROUNDS, report, samplers } from './compare.ts';

const addon = untypedAddon as typeof untypedAddon & { waitForLock(descriptor: number): Promise<void> };
const source = 'hdhomerun:1234ABC2/v5.1';

export async function locks(): Promise<void> {
  await inDirectory(tmpdir(), (dir) => calls(dir, ''));
  // Where the locks are kept by default, /run, is one on most hosts.
  const tmpfs = existsSync('/dev/shm') ? '/dev/shm' : undefined;
  if (tmpfs) await inDirectory(tmpfs, (dir) => calls(dir, ' on tmpfs'));
  await inDirectory(tmpdir(), handover);
  // A disk is busy writing the thousands of files that are made for this, whoever has them locked.
  await inDirectory(tmpfs ?? tmpdir(), manyHeld);
}

async function inDirectory(root: string, bench: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(root, 'holdfast-bench-'));
  for (const backend of ['kernel', 'flock']) mkdirSync(join(dir, backend));
  try {
    await bench(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Of what starts a program: milliseconds each. */
const slowly = { calls: 40 };

/** A directory is for one kind of lock. */
function at(dir: string, backend: 'kernel' | 'flock') {
  return { dir: join(dir, backend), backend };
}

async function calls(dir: string, where: string): Promise<void> {
  const [plain, path] = [join(dir, 'plain'), join(dir, 'path.lock')];
  const acquireAndRelease = async (options: object) => (await SourceLock.acquire(source, options)).release();
  await compare({
    title: `Acquire and release a free source${where}`,
    calls: 300,
    sample: 'p50',
    candidates: [
      { name: 'SourceLock, kernel', run: () => acquireAndRelease(at(dir, 'kernel')) },
      { name: 'SourceLock, flock', run: () => acquireAndRelease(at(dir, 'flock')), ...slowly },
      { name: 'SourceLock with a path', run: () => acquireAndRelease({ path }), ...slowly },
      { name: 'proper-lockfile', run: async () => (await lockfile.lock(plain, { realpath: false }))() },
      {
        name: 'fs-native-extensions bare, holder unnamed',
        run: () => {
          const descriptor = openSync(plain, 'a+');
          addon.tryLock(descriptor);
          addon.unlock(descriptor);
          closeSync(descriptor);
        },
      },
      { name: 'flock(1), holder unnamed', run: () => exit(flock(['-n', plain, 'true'])), ...slowly },
    ],
  });

  const holders = await Promise.all([
    startHolder('kernel', join(dir, 'kernel'), source),
    startHolder('flock', join(dir, 'flock'), source),
    startHolder('proper-lockfile', dir, 'proper'),
  ]);
  const [kernelFile, flockFile] = await Promise.all([fileOf(at(dir, 'kernel')), fileOf(at(dir, 'flock'))]);
  await compare({
    title: `Be refused and learn who holds it${where}`,
    calls: 300,
    sample: 'p50',
    candidates: [
      { name: 'SourceLock, kernel', run: () => SourceLock.tryAcquire(source, at(dir, 'kernel')) },
      { name: 'SourceLock, flock', run: () => SourceLock.tryAcquire(source, at(dir, 'flock')), ...slowly },
      {
        name: 'proper-lockfile, holder unnamed',
        run: () => lockfile.lock(join(dir, 'proper'), { realpath: false }).catch(() => {}),
      },
      {
        name: 'fs-native-extensions bare, holder unnamed',
        run: () => {
          const descriptor = openSync(kernelFile, 'a+');
          addon.tryLock(descriptor);
          closeSync(descriptor);
        },
      },
      { name: 'flock(1), holder unnamed', run: () => exit(flock(['-n', flockFile, 'true'])), ...slowly },
    ],
  });
  await Promise.all(holders.map(kill));
}

/** Of a lock that is held; that its holder is named by the kernel is what is measured. */
async function fileOf(options: ReturnType<typeof at>): Promise<string> {
  const holder = await SourceLock.inspect(source, options);
  if (holder?.verified !== 'kernel+meta') throw new Error(`no verified holder: ${JSON.stringify(holder)}`);
  return holder.path;
}

/** One that holds a lock, one that waits for it, and the time from the death of the one to the tenure of the other. */
interface Succession {
  readonly name: string;
  readonly start: () => Promise<ChildProcess>;
  /** Waits for the lock, lets go of it at once, and answers when it had it. */
  readonly wait: () => Promise<number>;
  /** So long it has waited at least when the holder is killed, and at most twice as long. */
  readonly patienceMs?: number;
}

async function handover(dir: string): Promise<void> {
  const plain = join(dir, 'plain');
  const waitFor = async (options: object) => {
    const lock = await SourceLock.acquire(source, { ...options, timeoutMs: 30_000, onWarning() {} });
    const at = performance.now();
    await lock.release();
    return at;
  };
  const bare = async (lock: (descriptor: number) => Promise<void>) => {
    const descriptor = openSync(plain, 'a+');
    await lock(descriptor);
    const at = performance.now();
    addon.unlock(descriptor);
    closeSync(descriptor);
    return at;
  };
  const poll = async (descriptor: number) => {
    while (!addon.tryLock(descriptor)) await sleep(1);
  };
  const startBare = () => startHolder('fs-native-extensions', dir, '');
  const successions: readonly Succession[] = [
    ...(['kernel', 'flock'] as const).map((backend) => ({
      name: `SourceLock, ${backend}`,
      start: () => startHolder(backend, join(dir, backend), source),
      wait: () => waitFor(at(dir, backend)),
    })),
    {
      name: 'SourceLock, kernel, having waited 2 to 4 s',
      start: () => startHolder('kernel', join(dir, 'kernel'), source),
      wait: () => waitFor(at(dir, 'kernel')),
      patienceMs: 2_000,
    },
    { name: 'fs-native-extensions bare, waitForLock', start: startBare, wait: () => bare(addon.waitForLock) },
    { name: 'fs-native-extensions bare, poll of 1 ms', start: startBare, wait: () => bare(poll) },
    {
      name: 'flock(1)',
      start: () => ready(flock(['-F', join(dir, 'flocked'), 'sh', '-c', 'echo held; exec sleep 60'], 'pipe')),
      wait: async () => {
        await exit(flock([join(dir, 'flocked'), 'true']));
        return performance.now();
      },
    },
  ];
  const samples = new Map<string, number[]>(successions.map(({ name }) => [name, []]));
  for (let round = 0; round < 30; round++) {
    for (const succession of successions) samples.get(succession.name)?.push(await succeed(succession));
  }
  // Its locks are stale after 10 s: few rounds, and all at once.
  const stale = ['first', 'second', 'third'].map((name) => ({
    name,
    start: () => startHolder('proper-lockfile', dir, name),
    wait: async () => {
      const retries = { retries: 1_000, factor: 1, minTimeout: 100, maxTimeout: 100 };
      const release = await lockfile.lock(join(dir, name), { realpath: false, retries });
      const at = performance.now();
      await release();
      return at;
    },
  }));
  samples.set('proper-lockfile, retry each 100 ms', await Promise.all(stale.map(succeed)));
  report({ title: 'SIGKILL of the holder to the next holder', unit: 'ms', samples, relation: ofOurs });
}

async function succeed({ start, wait, patienceMs = 60 }: Succession): Promise<number> {
  const holder = await start();
  const waiting = wait();
  // Long enough that it waits, and not always the same part of the pause between two tries.
  await sleep(patienceMs * (1 + Math.random()));
  const before = performance.now();
  const dead = kill(holder);
  const after = await waiting;
  await dead;
  return after - before;
}

async function manyHeld(dir: string): Promise<void> {
  const levels = [0, 1_000, 5_000, 10_000];
  const most = Math.max(...levels);
  if (descriptorLimit() < most + 200)
    return console.log(`\nnot run: ${most} locks in one process; ulimit -n is too low`);
  const options = at(dir, 'kernel');
  const empty = () => new Map<string, number[]>(levels.map((level) => [`${level} held`, []]));
  const [acquiring, refusing] = [empty(), empty()];
  for (let round = 0; round < ROUNDS; round++) {
    const held = [await SourceLock.acquire(source, options)];
    for (const level of levels) {
      while (held.length <= level) held.push(await SourceLock.acquire(`${source}/${held.length}`, options));
      const acquire = async () => (await SourceLock.acquire(`${source}/free`, options)).release();
      acquiring.get(`${level} held`)?.push(await samplers.p50(acquire, 200));
      refusing.get(`${level} held`)?.push(await samplers.p50(() => SourceLock.tryAcquire(source, options), 200));
    }
    for (const lock of held) await lock.release();
  }
  const note = 'p50 of 200 calls each';
  report({ title: 'Acquire and release with many held', unit: 'µs', note, samples: acquiring, relation: ofFirst });
  report({ title: 'Be refused with many held', unit: 'µs', note, samples: refusing, relation: ofFirst });
}

/** Node has raised the soft limit to the hard one. */
function descriptorLimit(): number {
  return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
}

function startHolder(kind: string, dir: string, name: string): Promise<ChildProcess> {
  const program = new URL('./lock-holder.ts', import.meta.url).pathname;
  return ready(spawn(process.execPath, [program, kind, dir, name], { stdio: ['ignore', 'pipe', 'inherit'] }));
}

async function ready(holder: ChildProcess): Promise<ChildProcess> {
  const [line] = await Promise.race([once(holder.stdout as NodeJS.ReadableStream, 'data'), exit(holder)]);
  if (String(line) !== 'held\n') throw new Error(`the holder does not hold: ${line}`);
  return holder;
}

async function kill(holder: ChildProcess): Promise<void> {
  const gone = exit(holder);
  holder.kill('SIGKILL');
  await gone;
}

export function flock(args: readonly string[], stdout: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  return spawn('flock', args, { stdio: ['ignore', stdout, 'ignore'] });
}

export function exit(child: ChildProcess): Promise<unknown[]> {
  return once(child, 'exit');
}
