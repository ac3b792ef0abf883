import { ManagedChild } from 'holdfast';
import type { Logger } from './log.ts';

/**
 * Ends what a publisher left behind that was killed together with its guard: it may hold a tuner. Only what is marked as
 * the child of an owner that is dead is ended, never what somebody else started.
 */
export async function sweepOrphans(log: Logger): Promise<void> {
  try {
    for (const orphan of await ManagedChild.sweepOrphans({ kill: true })) {
      const { pid, ownerPid, startedAt, command, ended } = orphan;
      const of = `pid ${pid}, which pid ${ownerPid} left behind when it died, since ${startedAt.toISOString()}: ${command}`;
      if (ended) log.warn({ orphan }, `ended ${of}`);
      else log.error({ orphan }, `could not end ${of}`);
    }
  } catch (error) {
    log.warn(`can't look for what dead publishers left behind: ${(error as Error).message}`);
  }
}
