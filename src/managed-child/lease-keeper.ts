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
  const MAX_TIMER_MS = 2 ** 31 - 1;
  const { process, now, after, afterPoll, reader } = tools;
  /** By process group: what the guard knows of it, and when its lease ends. */
  const groups = new Map<string, string>();
  const deadlines = new Map<string, number>();
  let timer: Disposable | undefined;
  let burials = 0;
  let isOrphaned = false;

  /** Without a look at the leader it is left to the burial, which looks again. */
  const killGroup = (group: string) => {
    const [pgid = 0, startTicks = 0, , , sequence] = group.split(':').map(Number);
    try {
      if (cgroups) tools.writeFileSync(`${cgroups}${sequence}/cgroup.kill`, '1');
    } catch {
      // it has none
    }
    try {
      const leader = startTicks === 0 ? undefined : reader.statOf(pgid);
      if (pgid > 1 && (!leader || leader.startTicks === startTicks)) process.kill(-pgid, 'SIGKILL');
    } catch {
      // it is gone
    }
  };
  const drive = (burial: Generator<number, void>) => {
    const { done, value } = burial.next();
    if (!done) return void after(value, () => drive(burial));
    burials -= 1;
    if (isOrphaned && burials === 0) process.exit();
  };
  /** Ends what was in these groups when their leases end, or by now. */
  const bury = (pgids: readonly string[]) => {
    burials += 1;
    const doomed = pgids.flatMap((pgid) => {
      const leftMs = Math.max(0, Math.ceil((deadlines.get(pgid) ?? 0) - now()));
      return groups.get(pgid)?.replace(/:\d+:\d+(:\d+)$/, `:${leftMs}:0$1`) ?? [];
    });
    drive(tools.bury(tools, [tag, cgroups, 'these', ...doomed]));
  };
  const endDue = () => {
    const due = [...deadlines].filter(([, deadline]) => deadline <= now()).map(([pgid]) => pgid);
    for (const pgid of due) {
      deadlines.delete(pgid);
      killGroup(groups.get(pgid) ?? '');
    }
    if (due.length > 0) bury(due);
    arm();
  };
  const arm = () => {
    timer?.[Symbol.dispose]();
    const leftMs = Math.min(...deadlines.values()) - now();
    if (deadlines.size > 0) timer = after(Math.min(Math.max(leftMs, 0), MAX_TIMER_MS), () => afterPoll(endDue));
  };
  /** By the clock of the host, if that is how the owner came to it: it may have been given another (a test's). */
  const deadlineOf = (ms: number, at: number) => {
    const latest = now() + ms;
    return at <= latest && at > latest - START_LIMIT_MS ? at : latest;
  };
  const obey = (line: string) => {
    const [verb, group = '', ms, at] = line.split(' ');
    const pgid = group.split(':')[0] as string;
    if (verb === '+') groups.set(pgid, group);
    if (verb === '-') groups.delete(pgid);
    if (verb === '-' || verb === 'L') deadlines.delete(pgid);
    if (verb === 'l') deadlines.set(pgid, deadlineOf(Number(ms), Number(at)));
  };
  for (const line of known) obey(line);
  arm();
  let rest = '';
  for (const stream of [process.stdin, process.stdout]) stream.on('error', () => {});
  process.stdin.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) obey(line);
    arm();
  });
  process.stdin.on('close', () => {
    isOrphaned = true;
    bury([...deadlines.keys()]);
  });
  process.stdout.write('.');
}

/** The program, as `node -e` takes it: its arguments are the tag, what the paths of the cgroups begin with or '', and lines. */
export const LEASE_KEEPER: string = `${BURYING_HEAD}
const { writeFileSync } = require('node:fs');
(${keepLeases})({ ...tools, bury, writeFileSync, after, afterPoll: setImmediate }, process.argv.slice(1));
`;
