import { readdirSync, readFileSync } from 'node:fs';
import { type ProcessIdentity, parseStat } from '../internal/proc.ts';
import { type ProcReader, procReader } from './proc-reader.ts';

/** A process that was found. */
export interface Found<Mark> extends ProcessIdentity {
  readonly processGroup: number;
  /** What its environment says of it; undefined for who is found as a member of a group. */
  readonly mark: Mark | undefined;
}

/** What a scan looks with; other programs bring their own. */
export interface ScanTools {
  readonly reader: ProcReader;
  readonly examiner: typeof examiner;
}

export interface ScanScope<Mark> {
  /** The pid of who looks. */
  readonly self: number;
  /** Process groups that are known to be the owner's. */
  readonly groups: ReadonlySet<number>;
  /** Those whose members shall be found too, marked or not. */
  readonly members?: ReadonlySet<number>;
  /** Whether the parent lived before there was the mark, so that it has adopted what shows it. */
  readonly isOlder?: (parent: ProcessIdentity, mark: Mark) => boolean;
  /** A pid, if all that can be found was created after it, and less than one round of pids ago. */
  readonly since?: number | undefined;
}

/** What an environment says, undefined for a stranger's. */
type MarkIn<Mark> = (environ: string) => Mark | undefined;

/**
 * Looks at the environment of every process and yields after each: what it found, or undefined. What it yields should be
 * signalled at once: it may be a process that forks and exits all the time.
 *
 * A process can hide from one look through `/proc` by forking and exiting in the meantime. So the scan reads which pid was
 * given out last, before and after, and looks at those in between until there are none: then every process that
 * lives has been looked at. Where the system does not tell the last pid, it lists them until none is new, and once more,
 * since only while the pids begin anew a list can miss who hides. Where new ones never stop coming, it looks often.
 *
 * Self-contained, without any outer name: other programs run its text.
 */
export function* scanProcesses<Mark>(
  { reader, examiner }: ScanTools,
  markIn: MarkIn<Mark>,
  scope: ScanScope<Mark>,
): Generator<Found<Mark> | undefined, void> {
  const ENOUGH_PASSES = 25;
  const ENOUGH_NEWCOMERS = 1_000;
  /** Who changes its program may have to read the new one from a disk. */
  const PATIENCE_PASSES = 2_000;
  const { read, numbersIn } = reader;
  /** What other file systems have put there, in a container (lxcfs): it tells of the host, or of some time ago. */
  const covered = (read('/proc/self/mountinfo') ?? '').matchAll(/^(?:\S+ ){4}(\/proc\/\S+) .* - (?!proc )/gm);
  const places = [...covered].map(([, place]) => `${place}/`);
  const teller = ['/proc/sys/kernel/ns_last_pid', '/proc/loadavg'].find(
    (file) => !places.some((place) => `${file}/`.startsWith(place)) && read(file),
  );
  const lastPid = () => (teller && Number(read(teller)?.trim().split(' ').at(-1))) || undefined;
  /** The pids that were given out after `before`, up to `last`; they begin anew at the end of their range. */
  const createdIn = (before: number, last: number) => {
    if (last >= before && last - before <= ENOUGH_NEWCOMERS) {
      return Array.from({ length: last - before }, (_, index) => last - index);
    }
    return numbersIn('/proc').filter((pid) =>
      last >= before ? pid > before && pid <= last : pid > before || pid <= last,
    );
  };
  let listed = new Set<number>();
  const newlyListed = () => {
    const wasListed = listed;
    listed = new Set(numbersIn('/proc'));
    return [...listed].filter((pid) => !wasListed.has(pid));
  };
  const examine = examiner(reader, markIn, scope);
  let before = scope.since;
  let unclear: number[] = [];
  let quietLists = 0;
  for (let pass = 0; pass < ENOUGH_PASSES || (unclear.length > 0 && pass < PATIENCE_PASSES); pass++) {
    const last = lastPid();
    if (last !== undefined && last === before && unclear.length === 0) return;
    const pids = before === undefined || last === undefined ? newlyListed() : createdIn(before, last);
    quietLists = last === undefined && pids.length + unclear.length === 0 ? quietLists + 1 : 0;
    if (quietLists === 2) return;
    const again = unclear;
    unclear = [];
    for (const pid of [...pids, ...again]) {
      const { isUnclear, found } = examine(pid);
      if (isUnclear) unclear.push(pid);
      yield found;
    }
    before = last;
    // A pass may have nobody to look at.
    yield undefined;
  }
}

/**
 * Looks at one process: whether it is to be found, and whether that can't be told yet.
 *
 * It leaves out what a stranger started with a copy of the mark: a process whose parent lives, shows no mark, and is none of
 * those to which the kernel gives processes that lost theirs: what is above `self`, an init, a user's service manager.
 *
 * Self-contained as well.
 */
export function examiner<Mark>(
  { read, statOf, environOf }: ProcReader,
  markIn: MarkIn<Mark>,
  { self, groups, members, isOlder }: ScanScope<Mark>,
): (pid: number) => { readonly isUnclear: boolean; readonly found: Found<Mark> | undefined } {
  /** How often one that has arguments must show no environment until it is believed to have none. */
  const ENOUGH_DENIALS = 5;
  const FLAG_KERNEL_THREAD = 0x200000;
  const denials = new Map<number, number>();
  /** Between its old program and its new one a process shows no environment, nor arguments. */
  const mayChange = (pid: number) => {
    const stat = statOf(pid);
    if (!stat || stat.flags & FLAG_KERNEL_THREAD || stat.isExiting || isForeign(stat.parent)) return false;
    if (read(`/proc/${pid}/cmdline`)) denials.set(pid, (denials.get(pid) ?? 0) + 1);
    return (denials.get(pid) ?? 0) < ENOUGH_DENIALS;
  };
  const above = new Set([0, 1]);
  for (let pid = self; !above.has(pid); pid = statOf(pid)?.parent ?? 0) above.add(pid);
  const adopts = (pid: number) =>
    above.has(pid) ||
    /^NSpid:.*\t1$/m.test(read(`/proc/${pid}/status`) ?? '') ||
    read(`/proc/${pid}/comm`) === 'systemd\n';
  /** Without the mark it can't be told who is older than that. */
  const isForeign = (pid: number, mark?: Mark) => {
    const environ = environOf(pid);
    if (!environ || markIn(environ) !== undefined || adopts(pid)) return false;
    const parent = statOf(pid);
    if (!parent || groups.has(parent.processGroup)) return false;
    return !isOlder || (mark !== undefined && !isOlder(parent, mark));
  };
  /** The number may be that of a thread. */
  const processOf = (number: number) =>
    statOf(Number(/^Tgid:\s*(\d+)$/m.exec(read(`/proc/${number}/status`) ?? '')?.[1] ?? number));
  const isMember = (pid: number) => {
    const stat = members?.size ? statOf(pid) : undefined;
    return stat !== undefined && members?.has(stat.processGroup) === true && !stat.hasEnded;
  };
  const describe = (number: number, mark: Mark | undefined) => {
    const stat = processOf(number);
    if (!stat || (mark !== undefined && isForeign(stat.parent, mark))) return undefined;
    return { pid: stat.pid, startTicks: stat.startTicks, processGroup: stat.processGroup, mark };
  };
  return (pid) => {
    const environ = environOf(pid);
    const mark = environ ? markIn(environ) : undefined;
    return {
      isUnclear: environ === '' && mayChange(pid),
      found: mark !== undefined || isMember(pid) ? describe(pid, mark) : undefined,
    };
  };
}

/** The value of a tag; self-contained as well. */
export function sequenceIn(environ: string, tag: string): number | undefined {
  const at = `\0${environ}`.indexOf(`\0${tag}=`);
  return at < 0 ? undefined : Number.parseInt(environ.slice(at + tag.length + 1), 10);
}

const tools: ScanTools = { reader: procReader({ readFileSync, readdirSync, parseStat }), examiner };

/** {@link scanProcesses} for this process. */
export function scan<Mark>(
  markIn: MarkIn<Mark>,
  scope: Omit<ScanScope<Mark>, 'self'>,
): Generator<Found<Mark> | undefined, void> {
  return scanProcesses(tools, markIn, { self: process.pid, ...scope });
}
