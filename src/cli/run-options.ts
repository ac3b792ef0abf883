import { MAX_TIMER_MS } from '../internal/time.ts';
import { sourceKey } from '../source-lock/key.ts';
import type { LockLocation } from '../source-lock/options.ts';
import { checkGiven, parseDuration, parseOptions, parseWord, UsageError } from './arguments.ts';

export const RUN_HELP = `holdfast run --source <url|path> [options] -- <command> [argument …]

Runs the command while it holds the lock of the source. Nothing that the command starts outlives it, or holdfast, so it has
to stay in the foreground. (But for what leaves its process group and clears its environment, where no cgroup can be made:
holdfast doctor tells.)

  --source <url|path>      what only one may read; repeated for other names of the same source, all or none are taken
  --on-busy <word>         skip: exit 0, the default; fail: exit 75; wait: for the holder to let go
  --timeout <duration>     how long to wait, then exit 75 (without end)
  --grace <duration>       from the signal that ends the command to SIGKILL for all of it (5s)
  --dir <path>             the lock directory ($HOLDFAST_LOCK_DIR, else /run/holdfast/locks)
  --lock-file <path>       this very file instead, which flock(1) excludes too
  --backend <word>         auto, kernel, flock or lease (auto)
  --help

A duration has a unit: 500ms, 10s, 2m. SIGTERM, SIGINT and SIGHUP are passed on and end the command; SIGQUIT, SIGUSR1,
SIGUSR2, SIGWINCH and SIGCONT are passed on; SIGTSTP stops the command too. The command is told by HOLDFAST_HELD which
descriptors have the lock, so that a program that uses holdfast is not refused by its own wrapper.

exit status: the command's; if a signal ended it, holdfast ends by the same
   0  busy, and --on-busy skip          125  holdfast failed, or the lock was lost
  64  the command line is wrong         126  the command is not executable
  75  busy                              127  the command was not found
`;

const string = { type: 'string' } as const;

const OPTIONS = {
  source: { type: 'string', multiple: true },
  'on-busy': string,
  timeout: string,
  grace: string,
  dir: string,
  'lock-file': string,
  backend: string,
  help: { type: 'boolean', short: 'h' },
} as const;

/** What `holdfast run` shall do. */
export interface RunPlan {
  readonly command: string;
  readonly args: readonly string[];
  readonly sources: readonly string[];
  readonly location: LockLocation;
  readonly onBusy: 'skip' | 'fail' | 'wait';
  /** How long to wait for a holder to let go. */
  readonly timeoutMs: number;
  readonly graceMs: number;
}

/** Undefined if it is help that is wanted. */
export function parseRun(argv: readonly string[]): RunPlan | undefined {
  const end = argv.indexOf('--');
  const values = parseOptions(end < 0 ? argv : argv.slice(0, end), OPTIONS);
  if (values.help) return undefined;
  const sources = (values.source ?? []).map(checkSource);
  if (sources.length === 0) throw new UsageError('--source is missing: the URL or path of what only one may read');
  const [command, ...args] = end < 0 ? [] : argv.slice(end + 1);
  if (!command) throw new UsageError('the command is missing: it comes last, after --');
  const onBusy = parseWord('--on-busy', values['on-busy'] ?? 'skip', ['skip', 'fail', 'wait']);
  if (values.timeout !== undefined && onBusy !== 'wait') throw new UsageError('--timeout needs --on-busy wait');
  const waitMs =
    values.timeout === undefined ? Number.POSITIVE_INFINITY : parseDuration('--timeout', values.timeout, MAX_TIMER_MS);
  return {
    command,
    args,
    sources,
    location: locationOf(values, sources),
    onBusy,
    timeoutMs: onBusy === 'wait' ? waitMs : 0,
    graceMs: parseDuration('--grace', values.grace ?? '5s', MAX_TIMER_MS),
  };
}

function checkSource(source: string): string {
  try {
    sourceKey(source);
    return source;
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`--source: ${error.message}`);
    throw error;
  }
}

interface Place {
  readonly dir?: string | undefined;
  readonly 'lock-file'?: string | undefined;
  readonly backend?: string | undefined;
}

function locationOf({ dir, 'lock-file': path, backend = 'auto' }: Place, sources: readonly string[]): LockLocation {
  checkGiven('--dir', dir);
  checkGiven('--lock-file', path);
  if (dir !== undefined && path !== undefined) throw new UsageError('--dir and --lock-file exclude each other');
  if (path !== undefined && sources.length > 1) {
    throw new UsageError(`--lock-file is for one --source, received ${sources.length} of them`);
  }
  const word = parseWord('--backend', backend, ['auto', 'kernel', 'flock', 'lease']);
  if (path !== undefined && word === 'kernel') {
    throw new UsageError('--lock-file is locked by flock(2): --backend must be auto or flock, received "kernel"');
  }
  return { dir, path, backend: word };
}
