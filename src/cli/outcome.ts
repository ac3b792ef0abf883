import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { sleep } from '../internal/time.ts';

/** How this program ends: with an exit code, or by the signal that ended the command. */
export type Outcome = number | NodeJS.Signals;

/** The exit codes of holdfast's own, where the command has none. */
export const EXIT = {
  failed: 1,
  usage: 64,
  busy: 75,
  /** As of env(1) and timeout(1): holdfast itself could not do its part. */
  holdfastFailed: 125,
  notExecutable: 126,
  notFound: 127,
} as const;

/** How long a signal may take to end this process. */
const DEATH_LIMIT_MS = 100;

/** Ends this process, whatever it still waits for: who waits for it sees the end of the command. */
export async function endAs(outcome: Outcome): Promise<never> {
  if (typeof outcome === 'number') process.exit(outcome);
  dieOf(outcome);
  await sleep(DEATH_LIMIT_MS);
  process.exit(128 + constants.signals[outcome]);
}

function dieOf(signal: NodeJS.Signals): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0'); // a core of this process would explain nothing
  } catch {
    // then it is larger
  }
  // Node ignores SIGPIPE and answers SIGUSR1 by a debugger; a listener that goes leaves the system's default.
  if (signal !== 'SIGKILL') process.on(signal, ignore).off(signal, ignore);
  process.kill(process.pid, signal);
}

function ignore(): void {}
