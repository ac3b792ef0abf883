import type { LockHolder } from '../errors.ts';
import { checkKnown, checkNumber, checkOneOf, checkSignal, checkString } from '../internal/options.ts';

/** How a lock is taken. */
export interface SourceLockOptions {
  /**
   * The directory of the lock files. Two that shall exclude each other must use the same.
   * @default `$HOLDFAST_LOCK_DIR`, else `/run/holdfast/locks`, shared by all users of the host. If that can't be made:
   * `$XDG_RUNTIME_DIR/holdfast/locks`, else one of this user in the temporary directory, with a warning.
   */
  readonly dir?: string | undefined;
  /** Kernel locks (OFD) are the only kind yet. @default 'auto' */
  readonly backend?: 'auto' | 'kernel' | undefined;
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

const KNOWN = [
  'dir',
  'backend',
  'command',
  'timeoutMs',
  'signal',
  'onWarning',
] as const satisfies readonly (keyof SourceLockOptions)[];

export function checkOptions(options: SourceLockOptions): {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly warning: (warning: LockWarning) => void;
} {
  checkKnown('SourceLock', options, KNOWN);
  if (options.dir !== undefined) checkString('dir', options.dir);
  if (options.command !== undefined) checkString('command', options.command);
  checkOneOf('backend', options.backend ?? 'auto', ['auto', 'kernel'] as const);
  return {
    timeoutMs: checkNumber('timeoutMs', options.timeoutMs ?? 0),
    signal: checkSignal(options.signal),
    warning: options.onWarning ?? emitWarning,
  };
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
  process.emitWarning(describe(warning), { type: 'HoldfastWarning', code: `HOLDFAST_${warning.code}` });
}

function describe(warning: LockWarning): string {
  if (warning.code === 'PER_USER_DIRECTORY') {
    return `locks are kept in ${warning.path}, for this user only; make /run/holdfast/locks or set HOLDFAST_LOCK_DIR`;
  }
  const { pid, startedAt, command } = warning.holder;
  return `the last holder of ${warning.key} died with the lock: pid ${pid} since ${startedAt}: ${command}`;
}
