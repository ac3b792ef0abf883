import type { Found, ScanTools, scanProcesses, sequenceIn } from './scan.ts';

/** What a burial works with. */
export interface BurialTools extends ScanTools {
  readonly scanProcesses: typeof scanProcesses;
  readonly sequenceIn: typeof sequenceIn;
  readonly process: Pick<NodeJS.Process, 'pid' | 'kill'>;
  /** Milliseconds of a monotonic clock. */
  now(): number;
}

type Marked = Found<number> & { readonly mark: number };

/**
 * Ends what left its process group, found by its tag and its cgroup; those in a registered group are the guard's until their
 * grace is over, which begins with the burial. It goes on until no group is left, since whoever is asked to end may start
 * another, and yields for how many milliseconds it has nothing to do: 0 after each process that it looked at.
 *
 * Self-contained, without any outer name: other processes run its text.
 *
 * @param cgroups what the paths of the children's cgroups begin with, '' where they have none.
 * @param scope 'all' to end also what no group tells of, because the owner is gone; or 'these'.
 * @param groups as the guard knows them: `PGID:START:GRACE_MS:SIGNAL:SEQUENCE`.
 */
export function* bury(
  tools: BurialTools,
  [tag = '', cgroups = '', scope = 'all', ...groups]: readonly string[],
): Generator<number, void> {
  const LIMIT_MS = 10_000;
  const { process, now } = tools;
  const beginMs = now();
  const { read, numbersIn, statOf, environOf } = tools.reader;
  const known = new Map(
    groups.map((group) => {
      const [processGroup = 0, , graceMs = 0, signal = 0, sequence = 0] = group.split(':').map(Number);
      return [sequence, { processGroup, graceMs, signal }];
    }),
  );
  const graces = [...known.values()].map(({ graceMs }) => graceMs);
  const pgids = new Set([...known.values()].map(({ processGroup }) => processGroup).filter((pgid) => pgid > 1));
  const told = new Set<string>();
  const send = (pid: number, signal: NodeJS.Signals | number) => {
    try {
      return process.kill(pid, signal);
    } catch {
      return false; // it is gone, or another user's
    }
  };
  const markIn = (environ: string) => tools.sequenceIn(environ, tag);
  /** A cgroup has also who shows no tag; the guard of an owner within it ends by itself. */
  function* contained(sequence: number): Generator<Found<number>> {
    const pids = cgroups ? read(`${cgroups}${sequence}/cgroup.procs`) : undefined;
    for (const pid of pids?.split('\n') ?? []) {
      const stat = statOf(Number(pid));
      const isGuard = environOf(Number(pid))?.includes('HOLDFAST_PROGRAM=');
      if (stat && !stat.hasEnded && !isGuard) yield { ...stat, mark: sequence };
    }
  }
  function* scan(): Generator<Found<number> | undefined> {
    for (const sequence of known.keys()) {
      yield* contained(sequence);
      yield undefined;
    }
    yield* tools.scanProcesses(tools, markIn, { self: process.pid, groups: pgids });
  }
  const isWanted = (found: Found<number> | undefined): found is Marked =>
    found?.mark !== undefined && (scope === 'all' || known.has(found.mark));
  /** Whether it had to be signalled: once to ask, and as often as it is found to end it. */
  const end = ({ pid, startTicks, processGroup, mark }: Marked, elapsedMs: number) => {
    const group = known.get(mark);
    if (!group || elapsedMs >= group.graceMs) {
      send(pid, 'SIGKILL');
      return true;
    }
    if (processGroup === group.processGroup || told.has(`${pid}:${startTicks}`)) return false;
    told.add(`${pid}:${startTicks}`);
    send(pid, group.signal);
    send(pid, 'SIGCONT');
    return true;
  };
  /** How many had to be signalled; undefined if none was found. */
  function* round(elapsedMs: number): Generator<number, number | undefined> {
    let signalled: number | undefined;
    for (const found of scan()) {
      if (isWanted(found)) signalled = (signalled ?? 0) + (end(found, elapsedMs) ? 1 : 0);
      yield 0;
    }
    return signalled;
  }
  /** Who runs in a group and shows no tag: it wrote over its environment, or cleared it. */
  function* isGroupLeft(): Generator<number, boolean> {
    if (![...pgids].some((processGroup) => send(-processGroup, 0))) return false;
    for (const pid of numbersIn('/proc')) {
      const stat = statOf(pid);
      if (stat && pgids.has(stat.processGroup) && !stat.hasEnded) return true;
      yield 0;
    }
    return false;
  }
  /** What a round came to; 0 signalled if it could not look, for want of descriptors or memory. */
  function* look(elapsedMs: number) {
    try {
      const signalled = yield* round(elapsedMs);
      return { signalled, isNothingLeft: signalled === undefined && !(yield* isGroupLeft()) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      return { signalled: 0, isNothingLeft: false };
    }
  }
  let napMs = 2;
  for (let isLast = false; ; ) {
    const elapsedMs = now() - beginMs;
    const { signalled, isNothingLeft } = yield* look(elapsedMs);
    if ((isNothingLeft && isLast) || elapsedMs > Math.max(0, ...graces) + LIMIT_MS) return;
    isLast = isNothingLeft;
    if (isLast) continue;
    napMs = signalled ? 2 : Math.min(napMs * 2, 1_000);
    const nextMs = Math.min(...graces.filter((graceMs) => graceMs > elapsedMs)) - (now() - beginMs);
    yield Math.max(Math.min(napMs, nextMs), 0);
  }
}
