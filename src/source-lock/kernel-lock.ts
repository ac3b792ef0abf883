import type { Patience } from './backend.ts';

/** OFD ranges or flock(2): the kernel keeps the two apart, so a file is for one of them. */
export type LockKind = 'kernel' | 'flock';

/**
 * A way in which the kernel locks an open file. The lock belongs to the open file description: a child that inherits the
 * descriptor has it too, and it vanishes with the last process that does.
 */
export interface KernelLock {
  /** The backend it makes; see `SourceLockOptions.backend`. */
  readonly name: LockKind;
  /**
   * Locks the file; false if another has it locked, or, without `patience`, is about to. If it rejects, nothing is locked.
   */
  lock(descriptor: number, patience?: Patience): boolean | Promise<boolean>;
  unlock(descriptor: number): void | Promise<void>;
}
