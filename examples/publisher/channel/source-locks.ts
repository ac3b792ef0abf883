import { hostname } from 'node:os';
import { type LockHolder, type LockWarning, SourceBusyError, SourceLock, sourceKey } from 'holdfast';
import type { Logger } from '../log.ts';

/** A dead publisher's ffmpeg is ended by its guard well within this. */
const ORPHAN_TIMEOUT_MS = 500;
/** And what this publisher itself is letting go of is gone well within this. */
const CLOSING_TIMEOUT_MS = 2_000;

/** By this process: until when each key is wanted. Two channels with the same source find each other here. */
const HELD = new Map<string, AbortSignal>();

export interface LockTerms {
  readonly dir: string | undefined;
  readonly log: Logger;
  /** Aborts when the source is no longer wanted. */
  readonly signal: AbortSignal;
}

/**
 * Takes the locks of all names of a source. Who comes second is told at once who is first. Only what is about to end is
 * waited for: what a dead publisher left behind, and what this very process is closing, as a channel that is opened anew
 * must not be refused for what it had itself.
 *
 * @throws SourceBusyError, LockDirectoryError
 */
export async function lockSource(names: readonly string[], { dir, log, signal }: LockTerms): Promise<SourceLock> {
  const options = { signal, dir, onWarning: (warning: LockWarning) => reportWarning(log, warning) };
  try {
    return held(names, signal, await SourceLock.acquire(names, options));
  } catch (error) {
    const timeoutMs = error instanceof SourceBusyError ? soonFreeMs(error) : 0;
    if (timeoutMs === 0) throw error;
    return held(names, signal, await SourceLock.acquire(names, { ...options, timeoutMs }));
  }
}

function soonFreeMs({ key, holder }: SourceBusyError): number {
  if (holder?.orphanOf !== undefined) return ORPHAN_TIMEOUT_MS;
  if (holder?.pid !== process.pid || holder.host !== hostname()) return 0;
  const isWanted = HELD.get(key)?.aborted === false;
  return isWanted ? 0 : CLOSING_TIMEOUT_MS;
}

function held(names: readonly string[], signal: AbortSignal, lock: SourceLock): SourceLock {
  for (const key of keysOf(names)) HELD.set(key, signal);
  return lock;
}

/** What was held is free for another channel. */
export function forgetHeld(names: readonly string[], signal: AbortSignal): void {
  for (const key of keysOf(names)) if (HELD.get(key) === signal) HELD.delete(key);
}

/** Without those of a name that can't be looked at now (a link to itself, a closed directory); its opening says why. */
export function keysOf(names: readonly string[]): ReadonlySet<string> {
  return new Set(
    names.flatMap((name) => {
      try {
        return [sourceKey(name)];
      } catch {
        return [];
      }
    }),
  );
}

/** That the locks are of one user only was said at the start; it is no news of this channel. */
function reportWarning(log: Logger, warning: LockWarning): void {
  if (warning.code !== 'DEAD_HOLDER') return;
  const { pid, startedAt, command }: LockHolder = warning.holder;
  const { key } = warning;
  log.warn(
    { holder: warning.holder },
    `took over ${key} from pid ${pid}, which died with it, since ${startedAt}: ${command}`,
  );
}
