import { parseStat } from '../internal/proc.ts';
import { procReader } from './proc-reader.ts';
import { examiner, type Found, type ScanTools, scanProcesses, sequenceIn } from './scan.ts';

/** What the undertaker works with. */
interface UndertakerTools extends ScanTools {
  readonly scanProcesses: typeof scanProcesses;
  readonly sequenceIn: typeof sequenceIn;
  readonly process: Pick<NodeJS.Process, 'pid' | 'kill'>;
  /** Writes to the owner, as the guard does. */
  tell(line: string): void;
  /** Milliseconds since it was started, which is when the grace began. */
  now(): number;
  sleep(ms: number): void;
}

/**
 * What the guard runs by Node when the owner is gone, or a lease has expired: it ends what left its process group, found by
 * its tag. Those in a registered group are the guard's until their grace is over. It stays until no group is left, since
 * whoever is asked to end may start another.
 *
 * Self-contained, without any outer name: the guard has its text only.
 *
 * @param lease '' when the owner is gone; when one expires, `SEQUENCE:GUARD:OWNER`: the child to end, and who set it. Its group
 * has for a grace what is left of the lease.
 * @param groups as the guard knows them: `PGID:START:GRACE_MS:SIGNAL:SEQUENCE`.
 */
function bury(tools: UndertakerTools, [tag = '', lease = '', ...groups]: readonly string[]): void {
  const LIMIT_MS = 10_000;
  const { process, now } = tools;
  const { numbersIn, statOf } = tools.reader;
  const known = new Map(
    groups.map((group) => {
      const [processGroup = 0, , graceMs = 0, signal = 0, sequence = 0] = group.split(':').map(Number);
      return [sequence, { processGroup, graceMs, signal }];
    }),
  );
  const [only, guard = 0, owner = 0] = lease === '' ? [] : lease.split(':').map(Number);
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
  const scan = () => tools.scanProcesses(tools, markIn, { self: process.pid, groups: pgids });
  /** Signals what is found; how many that changed, or undefined if there was none. */
  const round = (elapsedMs: number, all: Iterable<Found<number> | undefined> = scan()) => {
    let signalled: number | undefined;
    for (const found of all) {
      if (found?.mark === undefined || (only !== undefined && found.mark !== only)) continue;
      signalled ??= 0;
      const { pid, startTicks, processGroup, mark } = found;
      const group = known.get(mark);
      if (!group || elapsedMs >= group.graceMs) {
        send(pid, 'SIGKILL');
        signalled += 1;
      } else if (processGroup !== group.processGroup && !told.has(`${pid}:${startTicks}`)) {
        told.add(`${pid}:${startTicks}`);
        send(pid, group.signal);
        send(pid, 'SIGCONT');
        signalled += 1;
      }
    }
    return signalled;
  };
  const isStill = (found: Found<number> | undefined) =>
    found !== undefined && statOf(found.pid)?.startTicks === found.startTicks;
  const isLeft = (pid: number) => {
    const stat = statOf(pid);
    return stat !== undefined && pgids.has(stat.processGroup) && !stat.hasEnded;
  };
  /** Who runs in a group and shows no tag: it wrote over its environment, or cleared it. */
  const isGroupLeft = () =>
    [...pgids].some((processGroup) => send(-processGroup, 0)) && numbersIn('/proc').some(isLeft);
  /** Whoever sees the tree end must know why. False if another guard has the lease by now, for this one was killed. */
  const isExpired = () => {
    if (!send(guard, 0) && send(owner, 0)) return false;
    for (const pgid of pgids) tools.tell(`expired ${pgid}\n`);
    return true;
  };
  if (only !== undefined) {
    const dueMs = Math.max(...graces);
    const seen = [...scan()];
    while (now() < dueMs) tools.sleep(dueMs - now());
    if (!isExpired()) return;
    round(now(), seen.filter(isStill));
  }
  let napMs = 2;
  for (let isLast = false; ; ) {
    const signalled = round(now());
    const elapsedMs = now();
    if ((signalled === undefined && isLast) || elapsedMs > Math.max(0, ...graces) + LIMIT_MS) return;
    isLast = signalled === undefined && !isGroupLeft();
    if (isLast) continue;
    napMs = signalled ? 2 : Math.min(napMs * 2, 1_000);
    const nextMs = Math.min(...graces.filter((graceMs) => graceMs > elapsedMs)) - elapsedMs;
    tools.sleep(Math.min(napMs, nextMs));
  }
}

/** A compiler may have marked the functions with a helper of its own (`keepNames`), which their text needs. */
const HELPERS = 'const __name = (named) => named;';

/** The program, as `node -e` takes it. */
export const UNDERTAKER: string = `${HELPERS}
const { readFileSync, readdirSync, writeSync } = require('node:fs');
const parseStat = ${parseStat};
const procReader = ${procReader};
const examiner = ${examiner};
const scanProcesses = ${scanProcesses};
const sequenceIn = ${sequenceIn};
const now = () => performance.now();
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const tell = (line) => {
  try {
    writeSync(1, line);
  } catch {
    // the owner is gone
  }
};
// An owner above may ask all that is in its cgroup to end.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {});
const reader = procReader({ readFileSync, readdirSync, parseStat });
const tools = { reader, examiner, scanProcesses, sequenceIn, process, tell, now, sleep };
(${bury})(tools, process.argv.slice(1));
`;
