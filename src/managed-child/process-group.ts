import { hasProc, membersOfGroup } from '../internal/proc.ts';
import { now, sleep } from '../internal/time.ts';

/** Signals every process of the group; false if there is none, or none that this user may signal. */
export function signalGroup(pgid: number, signal: NodeJS.Signals | 0): boolean {
  if (pgid <= 1) throw new RangeError(`refusing to signal process group ${pgid}`);
  try {
    return process.kill(-pgid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EPERM') return signal === 0;
    return false;
  }
}

/** Asks the group to end; one that is stopped would get the request only when it is continued. */
export function askGroupToEnd(pgid: number, signal: NodeJS.Signals): void {
  if (signalGroup(pgid, signal)) signalGroup(pgid, 'SIGCONT');
}

/**
 * Resolves when no process of the group runs any more, zombies not counted: where nothing reaps them (a container
 * without an init) they would keep the group for ever. Polls quickly first, then every 100 ms.
 */
export async function groupGone(pgid: number, until: number = Number.POSITIVE_INFINITY): Promise<boolean> {
  for (let delayMs = 2; signalGroup(pgid, 0); delayMs = Math.min(delayMs * 2, 100)) {
    if (delayMs >= 32 && hasProc() && membersOfGroup(pgid).length === 0) return true;
    if (now() >= until) return false;
    await sleep(Math.max(1, Math.min(delayMs, until - now())));
  }
  return true;
}
