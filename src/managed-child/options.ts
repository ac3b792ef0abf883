import { constants } from 'node:os';
import type { Holdable, Lease } from '../internal/hold.ts';
import { checkKnown, checkNumber, checkOneOf, checkSignal, checkString, show } from '../internal/options.ts';
import { MAX_TIMER_MS } from '../internal/time.ts';
import type { ChildStdio } from './descriptors.ts';
import type { Readiness } from './readiness.ts';

/** How a child is started and ended. */
export interface ManagedChildOptions {
  /** Abort ends the tree, reason 'aborted'. */
  readonly signal?: AbortSignal | undefined;
  /** @default the working directory of this process */
  readonly cwd?: string | URL | undefined;
  /** @default the environment of this process */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** @default 'ignore' */
  readonly stdin?: ChildStdio | undefined;
  /** @default 'pipe' */
  readonly stdout?: ChildStdio | undefined;
  /** @default 'pipe' */
  readonly stderr?: ChildStdio | undefined;
  /** For diagnostics and error messages. @default the last part of the command */
  readonly name?: string | undefined;
  /** The request to end. @default 'SIGTERM' */
  readonly termSignal?: NodeJS.Signals | undefined;
  /** From the request to end to SIGKILL for the whole tree, 0 to 2^31 - 1 ms; 0 sends SIGKILL at once. @default 5000 */
  readonly graceMs?: number | undefined;
  /** When the child counts as ready; `spawn` waits for it. */
  readonly ready?: Readiness | undefined;
  /** Once it is ready, no byte on stdout for this long ends the tree, reason 'stalled'; at least 1. @default never */
  readonly stallTimeoutMs?: number | undefined;
  /**
   * Locks that stay held as long as any process that inherited their descriptor lives (60 and up in the child), even if
   * this process is killed. A program that closes inherited descriptors lets go.
   */
  readonly holds?: Holdable | readonly Holdable[] | undefined;
  /**
   * A right that ends by itself unless it is renewed. At its deadline, 50 ms at most before or after, the tree is killed without
   * grace, reason 'lease-expired': by a process beside this one, so also while this event loop is blocked or this process is
   * stopped. (Of some hundred that end at once the last are later.) A lock that has a lease applies it by `holds`.
   */
  readonly lease?: Lease | undefined;
  /**
   * How what leaves the process group is found. `group`: by its environment, so a program that clears its own and leaves the
   * group is not. `cgroup`: also by a cgroup of its own, which it can not leave; an error where none can be made (Linux
   * 5.14, cgroup v2, delegated to this user). `auto`: the same where one can be made, else as `group`. @default 'auto'
   */
  readonly containment?: 'auto' | 'group' | 'cgroup' | undefined;
}

/** How a child is told to end. */
export interface TerminateOptions {
  readonly timeoutMs?: number | undefined;
  readonly termSignal?: NodeJS.Signals | undefined;
}

/** What to start, and the options with their defaults, checked. */
export interface Settings extends ManagedChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly stdio: readonly ChildStdio[];
  readonly termSignal: NodeJS.Signals;
  readonly graceMs: number;
  readonly holds: readonly Holdable[];
  /** Its own, and those of what it holds. */
  readonly leases: readonly Lease[];
  readonly containment: 'auto' | 'group' | 'cgroup';
}

const KNOWN = [
  'signal',
  'cwd',
  'env',
  'stdin',
  'stdout',
  'stderr',
  'name',
  'termSignal',
  'graceMs',
  'ready',
  'stallTimeoutMs',
  'holds',
  'lease',
  'containment',
] as const satisfies readonly (keyof ManagedChildOptions)[];

export function settle(command: string, args: readonly string[], options: ManagedChildOptions): Settings {
  checkText('command', checkString('command', command));
  if (!Array.isArray(args)) throw new TypeError(`args must be an array of strings, received ${show(args)}`);
  for (const [index, argument] of args.entries()) checkText(`args[${index}]`, argument);
  checkKnown('ManagedChild.spawn', options, KNOWN);
  if (options.cwd !== undefined) checkDirectory(options.cwd);
  if (options.env !== undefined) checkEnvironment(options.env);
  checkSignal(options.signal);
  if (options.name !== undefined) checkString('name', options.name);
  if (options.stallTimeoutMs !== undefined) {
    checkNumber('stallTimeoutMs', options.stallTimeoutMs, { min: 1 });
    needStdout('stallTimeoutMs', options);
  }
  if (options.ready) checkReadiness(options.ready, options);
  if (options.lease !== undefined) checkLease(options.lease);
  const holds = ([options.holds ?? []].flat() as readonly Holdable[]).map(checkHoldable);
  return {
    ...options,
    command,
    args,
    stdio: [
      checkStdio('stdin', options.stdin ?? 'ignore'),
      checkStdio('stdout', options.stdout ?? 'pipe'),
      checkStdio('stderr', options.stderr ?? 'pipe'),
    ],
    termSignal: checkTermSignal(options.termSignal ?? 'SIGTERM'),
    graceMs: checkNumber('graceMs', options.graceMs ?? 5_000, { max: MAX_TIMER_MS }),
    holds,
    leases: [options.lease, ...holds.map((held) => held.lease)].filter((lease) => lease !== undefined),
    containment: checkOneOf('containment', options.containment ?? 'auto', ['auto', 'group', 'cgroup'] as const),
  };
}

/** The value is not told: it may be a secret. */
function checkText(name: string, value: unknown): void {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string, received ${typeof value}`);
  if (value.includes('\0')) throw new TypeError(`${name} must not contain a null character`);
}

function checkDirectory(cwd: unknown): void {
  if (cwd instanceof URL ? cwd.protocol === 'file:' : typeof cwd === 'string' && cwd !== '') return;
  throw new TypeError(`cwd must be a path or a file: URL, received ${cwd instanceof URL ? cwd.protocol : show(cwd)}`);
}

function checkEnvironment(env: unknown): void {
  if (typeof env !== 'object' || env === null || Array.isArray(env)) {
    throw new TypeError(`env must be an object, received ${show(env)}`);
  }
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || /[=\0]/.test(name)) throw new TypeError(`env must not have a variable named ${show(name)}`);
    if (value !== undefined) checkText(`env.${name}`, value);
  }
}

const MAX_DESCRIPTOR = 2 ** 31 - 1;

function checkStdio(name: string, value: unknown): ChildStdio {
  if (typeof value === 'number') return checkNumber(name, value, { integer: true, max: MAX_DESCRIPTOR });
  if (value === 'pipe' || value === 'ignore' || value === 'inherit') return value;
  throw new TypeError(
    `${name} must be 'pipe', 'ignore', 'inherit' or the number of an open descriptor, received ${show(value)}`,
  );
}

function checkHoldable(held: Holdable): Holdable {
  if (typeof held?.hold === 'function' && held.signal instanceof AbortSignal) return held;
  throw new TypeError(`holds must be a SourceLock or a list of them, received ${show(held)}`);
}

function checkLease(lease: Lease): void {
  const isLease = typeof lease?.onRenew === 'function' && lease.signal instanceof AbortSignal;
  if (!isLease) throw new TypeError(`lease must have deadline, signal and onRenew, received ${show(lease)}`);
  if (typeof lease.deadline !== 'number' || Number.isNaN(lease.deadline)) {
    throw new TypeError(`lease.deadline must be a time of the monotonic clock in ms, received ${show(lease.deadline)}`);
  }
}

export function checkTermSignal(value: unknown): NodeJS.Signals {
  if (typeof value === 'string' && value in constants.signals) return value as NodeJS.Signals;
  throw new TypeError(`termSignal must be the name of a signal, such as 'SIGTERM', received ${show(value)}`);
}

function needStdout(what: string, { stdout = 'pipe' }: ManagedChildOptions): void {
  if (stdout !== 'pipe') throw new TypeError(`${what} needs stdout to be 'pipe', received ${show(stdout)}`);
}

function checkReadiness({ when, timeoutMs }: Readiness, options: ManagedChildOptions): void {
  if (when !== 'stdout' && !(when instanceof RegExp) && typeof when !== 'function') {
    throw new TypeError(`ready.when must be 'stdout', a RegExp or a function, received ${show(when)}`);
  }
  if (when === 'stdout') needStdout("ready.when 'stdout'", options);
  checkNumber('ready.timeoutMs', timeoutMs, { min: 1 });
}
