import type { LockHolder } from '../errors.ts';
import { checkKnown, checkNumber, checkSignal, checkString } from '../internal/options.ts';
import { redactCommand } from '../internal/redact.ts';
import type { LockBackend } from './backend.ts';

/** Where the locks of a source are kept, and by what. Those that shall exclude each other must say the same. */
export interface LockLocation {
  /**
   * The directory of the lock files. A resource that several hosts or checkouts share, an archive, is best locked in a
   * directory of its own root.
   * @default `$HOLDFAST_LOCK_DIR`, else `/run/holdfast/locks`, shared by all users of the host. If that can't be made:
   * `$XDG_RUNTIME_DIR/holdfast/locks`, else one of this user in the temporary directory, with a warning.
   */
  readonly dir?: string | undefined;
  /**
   * This very lock file, whatever the source; wins over `dir`. It is locked by flock(2), so that it and shell scripts that
   * use flock(1) on it exclude each other. Its directory must exist.
   */
  readonly path?: string | undefined;
  /**
   * - `kernel`: OFD locks, exact and fast.
   * - `flock`: flock(2) by the program of that name, where the addon for OFD locks can't be loaded (musl).
   * - `lease`: for network file systems. Not exclusive in the strict sense: a holder that is stopped for longer than 10 s
   *   and wakes up overlaps with the next until it sees `signal`; `fence` tells the two apart. A dead holder of another host
   *   is followed by who waits for more than 10 s.
   * - `auto`: kernel, else flock; for a `path` flock. Refuses a network file system.
   * - a backend of your own.
   * @default 'auto'
   */
  readonly backend?: 'auto' | 'kernel' | 'flock' | 'lease' | LockBackend | undefined;
}

/** How a lock is taken. */
export interface SourceLockOptions extends LockLocation {
  /** What operators are told that the holder does. @default the command line, credentials removed */
  readonly command?: string | undefined;
  /** How long to wait for a holder to let go, in ms; `Infinity` for ever. @default 0 */
  readonly timeoutMs?: number | undefined;
  /** Abort ends the waiting. */
  readonly signal?: AbortSignal | undefined;
  /** @default process.emitWarning */
  readonly onWarning?: ((warning: LockWarning) => void) | undefined;
}

/** Something an operator should know; the lock was taken all the same. */
export type LockWarning =
  /** The last holder died with the lock; the kernel freed it. */
  | { readonly code: 'DEAD_HOLDER'; readonly key: string; readonly holder: LockHolder }
  /** The shared directory can't be made: other users of the host are not excluded. */
  | { readonly code: 'PER_USER_DIRECTORY'; readonly path: string };

const LOCATION = ['dir', 'path', 'backend'] as const satisfies readonly (keyof LockLocation)[];
const KNOWN = [
  ...LOCATION,
  'command',
  'timeoutMs',
  'signal',
  'onWarning',
] as const satisfies readonly (keyof SourceLockOptions)[];

/** The options with their defaults, checked. */
export interface Settings extends LockLocation {
  readonly command: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onWarning: (warning: LockWarning) => void;
}

export function settle(options: SourceLockOptions): Settings {
  checkKnown('SourceLock', options, KNOWN);
  if (options.command !== undefined) checkString('command', options.command);
  const { command = process.argv.join(' '), onWarning = emitWarning } = options;
  if (typeof onWarning !== 'function')
    throw new TypeError(`onWarning must be a function, received ${typeof onWarning}`);
  return {
    ...checkValues(options),
    command: redacted(command),
    timeoutMs: checkNumber('timeoutMs', options.timeoutMs ?? 0),
    signal: checkSignal(options.signal),
    onWarning,
  };
}

export function checkLocation<L extends LockLocation>(
  what: string,
  location: L,
  known: readonly string[] = LOCATION,
): L {
  checkKnown(what, location, known);
  return checkValues(location);
}

function checkValues<L extends LockLocation>({ ...location }: L): L {
  if (location.dir !== undefined) checkString('dir', location.dir);
  if (location.path !== undefined) checkString('path', location.path);
  return location;
}

let lastRedacted: { readonly command: string; readonly text: string } | undefined;

/** Mostly the same command line, and removing credentials is the dearest part of an acquisition without files. */
function redacted(command: string): string {
  if (lastRedacted?.command !== command) lastRedacted = { command, text: redactCommand(command) };
  return lastRedacted.text;
}

/** The listener's own failure must not lose the lock that was just taken. */
export function warn(listener: (warning: LockWarning) => void, warning: LockWarning): void {
  try {
    listener(warning);
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : new Error(`onWarning failed: ${String(error)}`));
  }
}

/** Which per-user directories were told of: once is enough for a process. */
const told = new Set<string>();

function emitWarning(warning: LockWarning): void {
  if (warning.code === 'PER_USER_DIRECTORY') {
    if (told.has(warning.path)) return;
    told.add(warning.path);
  }
  process.emitWarning(describeWarning(warning), { type: 'HoldfastWarning', code: `HOLDFAST_${warning.code}` });
}

/** As a sentence. */
export function describeWarning(warning: LockWarning): string {
  if (warning.code === 'PER_USER_DIRECTORY') {
    return `locks are kept in ${warning.path}, for this user only; make /run/holdfast/locks or set HOLDFAST_LOCK_DIR`;
  }
  const { pid, startedAt, command } = warning.holder;
  return `the last holder of ${warning.key} died with the lock: pid ${pid} since ${startedAt}: ${command}`;
}
