import { parseStat } from '../internal/proc.ts';
import { type ScanTools, scanTagged } from './scan.ts';

/**
 * What the guard runs by Node when the owner is gone, or a lease has expired: it ends what left its process group, found by
 * its tag. Those in a registered group are the guard's until their grace is over.
 *
 * Self-contained, without any outer name: the guard has its text only.
 *
 * @param only the child to end, or '' for all.
 * @param groups as the guard knows them: `PGID:START:GRACE_MS:SIGNAL:SEQUENCE`.
 */
function bury(
  scan: typeof scanTagged,
  tools: ScanTools & { readonly now: () => number },
  [tag = '', only = '', ...groups]: readonly string[],
  process: NodeJS.Process,
): void {
  const LIMIT_MS = 10_000;
  const begin = tools.now();
  const known = new Map(
    groups.map((group) => {
      const [processGroup = 0, , graceMs = 0, signal = 0, sequence = 0] = group.split(':').map(Number);
      return [sequence, { processGroup, graceMs, signal }];
    }),
  );
  const graces = [...known.values()].map(({ graceMs }) => graceMs);
  const told = new Set<string>();
  const send = (pid: number, signal: NodeJS.Signals | number) => {
    try {
      process.kill(pid, signal);
    } catch {
      // it is gone, or another user's
    }
  };
  /** Signals what is found; how many that changed, or undefined if there was none. */
  const round = (elapsedMs: number) => {
    let signalled: number | undefined;
    for (const found of scan(tools, tag, process.pid)) {
      if (!found || (only !== '' && found.sequence !== Number(only))) continue;
      signalled ??= 0;
      const { pid, startTicks, processGroup, sequence } = found;
      const group = known.get(sequence);
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
  const clock = new Int32Array(new SharedArrayBuffer(4));
  let napMs = 2;
  for (;;) {
    const signalled = round(tools.now() - begin);
    const elapsedMs = tools.now() - begin;
    if (signalled === undefined || elapsedMs > Math.max(0, ...graces) + LIMIT_MS) return;
    napMs = signalled > 0 ? 2 : Math.min(napMs * 2, 1_000);
    const nextMs = Math.min(...graces.filter((graceMs) => graceMs > elapsedMs)) - elapsedMs;
    Atomics.wait(clock, 0, 0, Math.min(napMs, nextMs));
  }
}

/** A compiler may have marked the functions with a helper of its own (`keepNames`), which their text needs. */
const HELPERS = 'const __name = (named) => named;';

/** The program, as `node -e` takes it: its arguments are the tag, the child to end or '', and the groups. */
export const UNDERTAKER: string = `${HELPERS}
const { readFileSync, readdirSync } = require('node:fs');
const tools = { readFileSync, readdirSync, parseStat: ${parseStat}, now: () => performance.now() };
(${bury})(${scanTagged}, tools, process.argv.slice(1), process);
`;
