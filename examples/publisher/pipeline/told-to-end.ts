import type { ChildExit } from 'holdfast';

/** ffmpeg, which catches signals, ends with this. */
const ENDED_BY_SIGNAL = 255;

/** A child that somebody outside told to end has not failed: a service manager that stops this publisher does so as well. */
export function isToldToEnd({ reason, code, signal, stderrTail }: ChildExit): boolean {
  if (reason !== 'exited') return false;
  const isOfFfmpeg = code === ENDED_BY_SIGNAL && !/not permitted/.test(stderrTail);
  return signal === 'SIGTERM' || signal === 'SIGINT' || isOfFfmpeg;
}

/** What ended it may be about to end this publisher as well: nothing is begun anew before this. */
export const OUTSIDE_RETRY_MS = 1_000;
