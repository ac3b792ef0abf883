import { type ChildExit, LockInUseError, SourceBusyError, SpawnError } from '../errors.ts';
import { ManagedChild } from '../managed-child/managed-child.ts';
import { describeWarning } from '../source-lock/options.ts';
import { SourceLock } from '../source-lock/source-lock.ts';
import { environmentFor } from './held.ts';
import { EXIT, type Outcome } from './outcome.ts';
import { print, say } from './output.ts';
import { parseRun, RUN_HELP, type RunPlan } from './run-options.ts';
import { SignalRelay } from './signals.ts';

/** How long the lock may take to be free once the command is gone. */
const RELEASE_LIMIT_MS = 5_000;

/** Takes the lock of a source, runs a command that holds it, and ends as that does. */
export async function run(argv: readonly string[]): Promise<Outcome> {
  const plan = parseRun(argv);
  if (!plan) {
    print(RUN_HELP);
    return 0;
  }
  const signals = new SignalRelay();
  try {
    return await runHolding(plan, signals);
  } catch (error) {
    if (signals.early) return signals.early;
    if (error instanceof SourceBusyError) return refused(error, plan);
    if (error instanceof SpawnError && error.command === plan.command) return notStarted(error);
    throw error;
  } finally {
    signals[Symbol.dispose]();
  }
}

async function runHolding(plan: RunPlan, signals: SignalRelay): Promise<Outcome> {
  const { sources, location, timeoutMs, command, args } = plan;
  const lock = await SourceLock.acquire(sources, {
    ...location,
    timeoutMs,
    signal: signals.waiting,
    command: ['holdfast run --', command, ...args].join(' '),
    onWarning: (warning) => say(describeWarning(warning)),
  });
  try {
    return await runUnder(lock, plan, signals);
  } finally {
    // What still has it holds on to it; the next who asks is told which process that is.
    await lock.release({ timeoutMs: RELEASE_LIMIT_MS }).catch((error) => say(stillLocked(error)));
  }
}

async function runUnder(lock: SourceLock, { command, args, graceMs }: RunPlan, signals: SignalRelay): Promise<Outcome> {
  signals.waiting.throwIfAborted();
  const child = await ManagedChild.spawn(command, args, {
    env: environmentFor(lock),
    stdin: 'inherit',
    stdout: 'inherit',
    stderr: 'inherit',
    holds: lock,
    graceMs,
  });
  signals.passTo(child);
  const exit = await child.exited;
  // The library ends what the command left, unless that is another user's.
  const end = await child.terminate('the command has ended').catch((error) => say(error.message));
  if (end?.reason === 'exited' && end.escapees > 0) {
    const what = `what it left running was ended too (processes: ${end.escapees})`;
    say(`the command has ended, and ${what}: it has to stay in the foreground`);
  }
  return outcomeOf(exit, lock);
}

function outcomeOf({ code, signal, reason }: ChildExit, lock: SourceLock): Outcome {
  if (reason !== 'lock-lost' && reason !== 'lease-expired') return signal ?? code ?? EXIT.holdfastFailed;
  const why: unknown = lock.signal.reason;
  say(`${why instanceof Error ? why.message : `the lease of ${lock.key} has expired`}; the command was ended`);
  return EXIT.holdfastFailed;
}

function refused({ message }: SourceBusyError, { onBusy }: RunPlan): number {
  say(message);
  return onBusy === 'skip' ? 0 : EXIT.busy;
}

/** Which process it is, only who looks when this one is gone can tell. */
function stillLocked(error: Error): string {
  if (!(error instanceof LockInUseError)) return error.message;
  return `${error.key} stays locked while a process that the command left has the lock; holdfast locks tells which`;
}

/** As shells and env(1) do. */
function notStarted(error: SpawnError): number {
  say(error.message);
  return (error.cause as NodeJS.ErrnoException).code === 'ENOENT' ? EXIT.notFound : EXIT.notExecutable;
}
