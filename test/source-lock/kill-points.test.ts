import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SourceLock } from 'holdfast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DebianProgram } from '../support/debian.ts';
import { eventually } from '../support/eventually.ts';
import { type SystemCall, straceProgram, watchCalls } from '../support/system-calls.ts';
import { temporaryDirectory } from '../support/temporary.ts';

import { backends, tuner } from './support.ts';

const strace = await straceProgram();
const root = temporaryDirectory(afterAll);

/** What outlives a process, or starts another; the rest is memory, threads and the event loop. */
const FILES = '%file,?fcntl,?fchmod,?pread64,?pwrite64,?write';
const TRACED = {
  kernel: `${FILES},?read,?close`,
  /** It runs the program flock: the two ends of each pipe are left out. */
  flock: `${FILES},?clone,?clone3,?vfork,?wait4`,
};
/** How many at once, on two cores. */
const WORKERS = 4;
/** How often to try to kill it before one call: which of all calls of that name it is may differ from run to run. */
const TRIES = 20;

/** A system call of the tenure. */
interface Point extends SystemCall {
  /** Of those that look the same: which, from 0. */
  readonly occurrence: number;
}

/** A process that was killed before it made a system call, and what became of its source. */
interface Death {
  readonly call: string;
  readonly pid: number;
  /** The files that it left. */
  readonly left: readonly string[];
  readonly lastFence: bigint;
  /** The next tenure, at its first try. */
  readonly next: SourceLock | Error;
  readonly whileHeld: readonly string[];
  /** The files and their modes when that was over. */
  readonly afterwards: Readonly<Record<string, number>>;
}

describe.skipIf(!strace).each(backends)('over %s: a process killed before any system call of a tenure', (backend) => {
  const deaths: Death[] = [];
  let points: readonly Point[] = [];

  beforeAll(async () => {
    const env = { NODE_COMPILE_CACHE: join(root, 'compiled') };

    /** In a directory of its own, which is made in the tenure that is watched. */
    const tenure = async (before?: SystemCall) => {
      const directory = mkdtempSync(join(root, 'tenure-'));
      const options = { dir: join(directory, 'locks'), backend };
      const request = { source: tuner, options, elsewhere: join(directory, 'elsewhere') };
      const watched = { fixture: 'lock-tenure', request, directory, traced: TRACED[backend], env };
      return { ...(await watchCalls(strace as DebianProgram, watched, before)), options };
    };

    const deathBefore = async (point: Point): Promise<Death> => {
      let nth = point.nth;
      for (let tries = 1; ; tries++) {
        const { pid, calls, isKilled, options } = await tenure({ ...point, nth });
        const found = calls.filter(({ what }) => what === point.what)[point.occurrence];
        if (isKilled && found && found === calls.at(-1)) return await succession(options, pid, point.what);
        if (tries === TRIES) throw new Error(`never died before ${point.what}, at last before ${calls.at(-1)?.what}`);
        // The event loop makes such calls too, now more of them, now fewer.
        nth = found?.nth ?? nth + 1;
      }
    };

    const { calls } = await tenure();
    const at = (mark: string) => calls.findIndex(({ what }) => what.includes(`/mark-${mark}`));
    const isOfTenure = ({ what }: SystemCall) => !what.includes('("/sys/');
    const pointOf = (call: SystemCall, index: number): Point => {
      const before = calls.slice(0, index);
      return { ...call, occurrence: before.filter(({ what }) => what === call.what).length };
    };
    points = calls
      .map(pointOf)
      .slice(at('begin') + 1, at('end') + 1)
      .filter(isOfTenure);
    const waiting = [...points];
    const worker = async () => {
      for (let point = waiting.shift(); point; point = waiting.shift()) deaths.push(await deathBefore(point));
    };
    await Promise.all(Array.from({ length: WORKERS }, worker));
  }, 120_000);

  /** The next tenure after a death, here. */
  async function succession(options: { dir: string; backend: typeof backend }, pid: number, call: string) {
    const files = () => (existsSync(options.dir) ? readdirSync(options.dir) : []);
    const pathOf = (name: string) => join(options.dir, name);
    const left = files();
    const lock = left.find((name) => name.endsWith('.lock'));
    const lastFence = BigInt(lock ? readFileSync(pathOf(lock), 'utf8').trim() : 0);
    const taking = () => SourceLock.acquire(tuner, { ...options, onWarning: () => {} });
    // The program flock that was running has the lock for as long as it still does.
    const next: SourceLock | Error = await (backend === 'kernel' ? taking() : eventually(taking)).catch((e) => e);
    const whileHeld = files();
    if (next instanceof SourceLock) await next.release();
    const mode = (path: string) => statSync(path).mode & 0o777;
    const modes = files().map((name) => [name, mode(pathOf(name))]);
    return {
      call,
      pid,
      left,
      lastFence,
      next,
      whileHeld,
      afterwards: { ...Object.fromEntries(modes), '.': mode(options.dir) },
    };
  }

  /** The calls of the deaths of which this is true. */
  const where = (isSo: (death: Death) => boolean) => deaths.filter(isSo).map(({ call }) => call);
  const has = (files: readonly string[], suffix: string) => files.some((name) => name.endsWith(suffix));

  test('died at each of them, from making the directory to the end of the release', () => {
    expect(where(() => true).sort()).toEqual(points.map(({ what }) => what).sort());
    const parts = [
      'mkdir',
      '/FORMAT',
      '.lock"',
      '.meta.tmp',
      'pwrite64',
      'rename',
      '/mark-held',
      'unlink',
      '/mark-end',
    ];
    for (const part of [...parts, backend === 'kernel' ? 'fcntl' : 'clone'])
      expect(
        where(({ call }) => call.includes(part)),
        part,
      ).not.toEqual([]);
  });

  test('leaves the source free for the next at its first try', () => {
    expect(deaths.filter(({ next }) => !(next instanceof SourceLock))).toEqual([]);
  });

  test('is told of as a dead holder if it had said whose the lock was, and only then', () => {
    const explained = ({ left }: Death) => has(left, '.meta');
    const reclaimed = ({ next }: Death) => ('reclaimedFrom' in next ? next.reclaimedFrom?.pid : undefined);
    expect(where((death) => reclaimed(death) !== (explained(death) ? death.pid : undefined))).toEqual([]);
    expect(where(explained).length).toBeGreaterThan(2);
    expect(where((death) => !explained(death)).length).toBeGreaterThan(2);
  });

  test('leaves no half-written sidecar that the next tenure does not clear away', () => {
    expect(where(({ left }) => has(left, '.tmp'))).not.toEqual([]);
    expect(where(({ whileHeld }) => has(whileHeld, '.tmp') || !has(whileHeld, '.meta'))).toEqual([]);
  });

  test('leaves nothing but the lock file and FORMAT after the next tenure', () => {
    const isDebris = (name: string) => !['.', 'FORMAT'].includes(name) && !name.endsWith('.lock');
    expect(where(({ afterwards }) => Object.keys(afterwards).some(isDebris))).toEqual([]);
  });

  test('leaves the fence growing', () => {
    expect(where(({ lastFence }) => lastFence > 0n).length).toBeGreaterThan(2);
    expect(where(({ next, lastFence }) => 'fence' in next && next.fence <= lastFence)).toEqual([]);
  });

  test('leaves what the group can use', () => {
    const isShared = (mode: number) => mode === 0o660 || mode === 0o770;
    expect(where(({ afterwards }) => !Object.values(afterwards).every(isShared))).toEqual([]);
  });
});
