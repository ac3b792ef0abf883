import type { writeFileSync } from 'node:fs';
import type { BurialTools, bury } from './burial.ts';
import { BURYING_HEAD } from './node-program.ts';

/** What the keeper works with. */
interface KeeperTools extends BurialTools {
  readonly process: Pick<NodeJS.Process, 'pid' | 'kill' | 'exit' | 'stdin' | 'stdout'>;
  readonly bury: typeof bury;
  readonly writeFileSync: typeof writeFileSync;
  after(ms: number, callback: () => void): Disposable;
  /** Calls back when what waits in the pipe has been read. */
  afterPoll(callback: () => void): void;
}

/** A process group as the guard knows it, and the number of its cgroup. */
interface Group {
  readonly pgid: number;
  readonly startTicks: number;
  readonly sequence: number;
}

/**
 * Kills trees at the deadlines of their leases: what is in the group at once, and what left it when it is found. It reads the
 * lines of the guard, and heeds all that came before it acts. Once its owner is gone nobody renews; then it stays until nothing
 * that has a lease is left.
 *
 * Self-contained, without any outer name: it is run by its text.
 */
function keepLeases(tools: KeeperTools, [tag = '', cgroups = '', ...known]: readonly string[]): void {
  /** How late a line may be read, since this program takes a while to start. */
  const START_LIMIT_MS = 5_000;
  /** What the owner tells, the time left and the instant, is rounded up. */
  const ROUNDING_MS = 1;
  /** For how long a burial may go on until it is looked whether another lease has ended. */
  const SLICE_MS = 2;
  const MAX_TIMER_MS = 2 ** 31 - 1;
  const { process, now, after, afterPoll, reader } = tools;
  /** By process group, and when its lease ends. */
  const groups = new Map<number, Group>();
  const deadlines = new Map<number, number>();

  /** Whether it is still the group that was added. Without a look at the leader it is left to the burial, which looks again. */
  const isOurs = ({ pgid, startTicks }: Group) => {
    try {
      const leader = startTicks === 0 ? undefined : reader.statOf(pgid);
      return pgid > 1 && (!leader || leader.startTicks === startTicks);
    } catch {
      return false;
    }
  };
  const attempt = (kill: () => void) => {
    try {
      kill();
    } catch {
      // it is gone, or has no cgroup
    }
  };
  const killAll = (due: readonly Group[]) => {
    // First all the looks: those that die take the time of who looks.
    for (const { pgid } of due.filter(isOurs)) attempt(() => process.kill(-pgid, 'SIGKILL'));
    if (!cgroups) return;
    for (const { sequence } of due) attempt(() => tools.writeFileSync(`${cgroups}${sequence}/cgroup.kill`, '1'));
  };

  /** For the next burial: groups whose leases have ended or, since the owner is gone, will end. */
  let doomed: (Group & { readonly deadline: number })[] = [];
  /** Those that have something to do; the first is at work. */
  const burials: Generator<number, void>[] = [];
  let unfinished = 0;
  function* buryDoomed(): Generator<number, void> {
    const lines = doomed.map(({ pgid, startTicks, sequence, deadline }) => {
      return `${pgid}:${startTicks}:${Math.max(0, Math.ceil(deadline - now()))}:0:${sequence}`;
    });
    doomed = [];
    yield* tools.bury(tools, [tag, cgroups, 'these', ...lines]);
  }
  const doom = (leases: Iterable<readonly [pgid: number, deadline: number]>) => {
    const added = [...leases].flatMap(([pgid, deadline]) => {
      const group = groups.get(pgid);
      return group ? { ...group, deadline } : [];
    });
    if (added.length > 0 && doomed.length === 0) {
      burials.push(buryDoomed());
      unfinished += 1;
    }
    doomed.push(...added);
    return added;
  };
  const killDue = (at: number) => {
    const due = [...deadlines].filter(([, deadline]) => deadline <= at);
    for (const [pgid] of due) deadlines.delete(pgid);
    killAll(doom(due));
  };

  let isAtWork = false;
  let timer: Disposable | undefined;
  let isOrphaned = false;
  /** Kills what is due, and goes on with a burial for a while: the next lease that ends does not wait for it. */
  const work = (at: number) => {
    killDue(at);
    const burial = burials.shift();
    if (!burial) return restOrExit();
    const end = now() + SLICE_MS;
    let step: IteratorResult<number, void>;
    do step = burial.next();
    while (step.value === 0 && now() < end);
    if (step.done) unfinished -= 1;
    else if (step.value === 0) burials.unshift(burial);
    else after(step.value, () => resume(burial));
    afterReading();
  };
  /** What was written before this instant is read first: it may be a renewal. */
  const afterReading = () => {
    const at = now();
    afterPoll(() => work(at));
  };
  const wake = () => {
    if (!isAtWork) afterReading();
    isAtWork = true;
  };
  const resume = (burial: Generator<number, void>) => {
    burials.push(burial);
    wake();
  };
  const restOrExit = () => {
    if (isOrphaned && unfinished === 0) process.exit();
    isAtWork = false;
    timer?.[Symbol.dispose]();
    const leftMs = Math.min(...deadlines.values()) - now();
    if (deadlines.size > 0) timer = after(Math.min(Math.max(leftMs, 0), MAX_TIMER_MS), wake);
  };
  /** By the clock of the host, if that is how the owner came to it: it may have been given another (a test's). */
  const deadlineOf = (ms: number, at: number) => {
    const latest = now() + ms;
    return at <= latest + ROUNDING_MS && at > latest - START_LIMIT_MS ? at : latest;
  };
  const obey = (line: string) => {
    const [verb, group = '', ms, at] = line.split(' ');
    const [pgid = 0, startTicks = 0, , , sequence = 0] = group.split(':').map(Number);
    if (verb === '+') groups.set(pgid, { pgid, startTicks, sequence });
    if (verb === '-') groups.delete(pgid);
    if (verb === '-' || verb === 'L') deadlines.delete(pgid);
    if (verb === 'l') deadlines.set(pgid, deadlineOf(Number(ms), Number(at)));
  };
  for (const line of known) obey(line);
  let unread = '';
  for (const stream of [process.stdin, process.stdout]) stream.on('error', () => {});
  process.stdin.setEncoding('utf8').on('data', (text: string) => {
    const lines = (unread + text).split('\n');
    unread = lines.pop() as string;
    for (const line of lines) obey(line);
    wake();
  });
  process.stdin.on('close', () => {
    isOrphaned = true;
    doom(deadlines);
    wake();
  });
  process.stdout.write('.');
  wake();
}

/** The program, as `node -e` takes it: its arguments are the tag, what the paths of the cgroups begin with or '', and lines. */
export const LEASE_KEEPER: string = `${BURYING_HEAD}
const { writeFileSync } = require('node:fs');
(${keepLeases})({ ...tools, bury, writeFileSync, after, afterPoll: setImmediate }, process.argv.slice(1));
`;
