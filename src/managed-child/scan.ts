import type { readdirSync, readFileSync } from 'node:fs';
import type { parseStat } from '../internal/proc.ts';

/** A process that carries the tag. */
export interface Tagged {
  readonly pid: number;
  readonly startTicks: number;
  readonly processGroup: number;
  /** Which child of the owner it is, or belongs to. */
  readonly sequence: number;
}

/** What a scan looks with; the undertaker brings its own. */
export interface ScanTools {
  readonly readFileSync: typeof readFileSync;
  readonly readdirSync: typeof readdirSync;
  readonly parseStat: typeof parseStat;
}

/**
 * Looks at the environment of every process, and yields after each: what it found, or undefined. What it yields should be
 * signalled at once: it may be a process that forks and exits all the time.
 *
 * A process can hide from one look through `/proc` by forking and exiting in the meantime. So the scan reads which pid was
 * given out last, before and after, and looks at those in between until there are none: then every process that
 * lives has been looked at. Where the system does not tell the last pid, or new ones never stop coming, it looks often.
 *
 * It leaves out what a stranger started with a copy of the tag: a process whose parent is neither tagged, nor above `self`
 * (to which the kernel gives those that lost theirs).
 *
 * Self-contained, without any outer name: the undertaker runs its text.
 *
 * @param since a pid, if every process of interest was created after it and less than one round of pids ago.
 */
export function* scanTagged(
  { readFileSync, readdirSync, parseStat }: ScanTools,
  tag: string,
  self: number,
  since?: number,
): Generator<Tagged | undefined, void> {
  const ENOUGH_PASSES = 25;
  const ENOUGH_NEWCOMERS = 1_000;
  /** One that changes its program may have to read the new one from a disk. */
  const PATIENCE_PASSES = 2_000;
  const FLAG_KERNEL_THREAD = 0x200000;
  const read = (path: string) => {
    try {
      return readFileSync(path, 'latin1');
    } catch {
      return undefined;
    }
  };
  const lastPid = () => Number(read('/proc/loadavg')?.split(' ')[4]) || undefined;
  const statOf = (pid: number) => parseStat(pid, read(`/proc/${pid}/stat`));
  const newestFirst = () => {
    try {
      return readdirSync('/proc').map(Number).filter(Number.isInteger).reverse();
    } catch {
      return [];
    }
  };
  /** The pids that were given out after `before`, up to `last`; they begin anew at the end of their range. */
  const createdIn = (before: number, last: number) => {
    if (last >= before && last - before <= ENOUGH_NEWCOMERS) {
      return Array.from({ length: last - before }, (_, index) => last - index);
    }
    return newestFirst().filter((pid) => (last >= before ? pid > before && pid <= last : pid > before || pid <= last));
  };
  const valueIn = (environ: string) => {
    const at = `\0${environ}`.indexOf(`\0${tag}=`);
    return at < 0 ? undefined : Number.parseInt(environ.slice(at + tag.length + 1), 10);
  };
  /** Between its old program and its new one a process has no environment to read, nor arguments. */
  const isChangingProgram = (pid: number) => {
    const stat = read(`/proc/${pid}/cmdline`) === '' ? statOf(pid) : undefined;
    return stat !== undefined && stat.state !== 'Z' && stat.state !== 'X' && !(stat.flags & FLAG_KERNEL_THREAD);
  };
  const above = new Set([1]);
  for (let pid = self; pid > 1 && !above.has(pid); pid = statOf(pid)?.parent ?? 0) above.add(pid);
  const isForeign = (parent: number) => {
    if (above.has(parent) || parent <= 0) return false;
    const environ = read(`/proc/${parent}/environ`);
    return environ !== undefined && environ !== '' && valueIn(environ) === undefined;
  };
  /** Its own pid, for the number may be that of a thread. */
  const describe = (number: number, sequence: number) => {
    const pid = Number(/^Tgid:\s*(\d+)$/m.exec(read(`/proc/${number}/status`) ?? '')?.[1] ?? number);
    const stat = statOf(pid);
    if (!stat || stat.state === 'Z' || stat.state === 'X' || isForeign(stat.parent)) return undefined;
    return { pid, startTicks: stat.startTicks, processGroup: stat.processGroup, sequence };
  };

  let before = since;
  let unclear: number[] = [];
  for (let pass = 0; pass < ENOUGH_PASSES || (unclear.length > 0 && pass < PATIENCE_PASSES); pass++) {
    const last = lastPid();
    if (last !== undefined && last === before && unclear.length === 0) return;
    const pids = before === undefined || last === undefined ? newestFirst() : createdIn(before, last);
    const again = unclear;
    unclear = [];
    for (const pid of [...pids, ...again]) {
      const environ = read(`/proc/${pid}/environ`);
      const sequence = environ ? valueIn(environ) : undefined;
      if (environ === '' && isChangingProgram(pid)) unclear.push(pid);
      yield sequence === undefined ? undefined : describe(pid, sequence);
    }
    before = last;
  }
}
