import type { LockHolder } from '../errors.ts';
import type { Lease } from '../internal/hold.ts';
import type { ProcessIdentity } from '../internal/proc.ts';

/**
 * Keeps the locks: `kernel`, `flock` and `lease` are such backends, and yours can be one. {@link SourceLock} does the rest
 * on top of it: identities, all or none, the children that hold, time-outs, warnings.
 */
export interface LockBackend {
  /** For error messages; `FORMAT` in a lock directory pins it to the backend of this name. */
  readonly name: string;
  /** Whether it keeps files in the lock directory, which is made and pinned to it then. @default false */
  readonly usesDirectory?: boolean;
  /**
   * Takes the lock or answers undefined if another has it. Without `patience` it tries once, and may leave a free lock to
   * those that wait for it; with it, it waits, and tries at least once even if the deadline is over.
   *
   * Cancel-safe: if it rejects, nothing is held. What it throws reaches the caller of `acquire`.
   */
  take(place: LockPlace, patience?: Patience): Promise<TakenLock | undefined>;
  /**
   * Who holds these locks now, those left out that nobody holds, or nobody any more. Only looks.
   *
   * @param context `isRefused`: a try was refused just now, so somebody does hold them
   */
  inspect(places: readonly LockPlace[], context?: InspectContext): Promise<LockHolder[]>;
}

export interface InspectContext {
  readonly isRefused?: boolean;
}

/** A lock, by the identity of its source and the file that stands for it on this host. */
export interface LockPlace {
  readonly key: string;
  readonly path: string;
}

/** How long to wait for a holder to let go. */
export interface Patience {
  /** By `performance.now()`, in ms; `Infinity` for ever. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

/** For one try that leaves the lock to nobody. */
export const AT_ONCE: Patience = { deadline: Number.NEGATIVE_INFINITY };

/** A lock that this process has taken and not released. */
export interface TakenLock extends LockPlace {
  /** Aborts when the lock is lost; the reason tells why. */
  readonly lost: AbortSignal;
  /** Set where the lock ends by itself unless it is renewed. */
  readonly lease?: Lease | undefined;
  /**
   * Begins the tenure: says whose the lock is now. Called once, when all locks that belong together are taken; one that is
   * released before has disturbed nothing.
   */
  begin(command: string): Promise<Tenure>;
  /** Lets a child that is about to start have the lock too; its descriptors are for the child to inherit. */
  share(): readonly number[];
  /** Other processes that can be seen to have the lock too. */
  sharers?(): readonly number[];
  /** Records the children that have it, so that a refusal can name them after this process is dead. */
  recordChildren(children: readonly ProcessIdentity[]): void;
  /** Lets go. Resolves when nothing of this tenure has the lock any more. */
  release(): Promise<void>;
}

/** One holding of a lock, from `begin` to `release`. */
export interface Tenure {
  /** Greater than that of any tenure of this lock before. */
  readonly fence: bigint;
  /** The holder that died with the lock. */
  readonly reclaimedFrom?: LockHolder | undefined;
  /** Tells that process from all others, where its pid alone does not: it is one death, however many locks it had. */
  readonly deadProcess?: string | undefined;
}
