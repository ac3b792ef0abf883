import { uptime } from 'node:os';
import { type LockHolder, ManagedChild, type Orphan } from 'holdfast';
import type { Logger } from './log.ts';

/** When a process started is known to the second only. */
const START_TOLERANCE_MS = 2_000;

/**
 * Ends what the run of this publisher before left behind if it was killed together with its guard: it may hold a tuner.
 * What other programs left is named and lives on, for it may be a recording, and whoever operates them judges that.
 *
 * @param predecessor the publisher that had the same state directory and did not end in order
 */
export async function sweepOrphans(predecessor: LockHolder | undefined, log: Logger): Promise<void> {
  const isOurs = (orphan: Orphan) => predecessor !== undefined && isOf(predecessor, orphan);
  try {
    for (const orphan of await ManagedChild.sweepOrphans({ kill: isOurs })) {
      const { pid, ownerPid, startedAt, command, ended } = orphan;
      const of = `pid ${pid}, which pid ${ownerPid} left behind when it died, since ${startedAt.toISOString()}: ${command}`;
      if (ended) log.warn({ orphan }, `ended ${of}`);
      else if (isOurs(orphan)) log.error({ orphan }, `could not end ${of}`);
      else log.warn({ orphan }, `not of this publisher, and not touched: ${of}; \`holdfast orphans --kill\` ends it`);
    }
  } catch (error) {
    log.warn(`can't look for what dead publishers left behind: ${(error as Error).message}`);
  }
}

/** Pids are given out again, the sooner after a boot: what is of it came after it, and it ran since this boot. */
function isOf(predecessor: LockHolder, { ownerPid, startedAt }: Orphan): boolean {
  const beganAt = Date.parse(predecessor.startedAt) - START_TOLERANCE_MS;
  const bootedAt = Date.now() - uptime() * 1_000 - 2 * START_TOLERANCE_MS;
  return ownerPid === predecessor.pid && startedAt.getTime() >= beganAt && beganAt >= bootedAt;
}
