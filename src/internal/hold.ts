/**
 * What a child can hold together with its owner: its descriptors go to the child, and its loss ends the child.
 * `SourceLock` is one and `ManagedChild` uses it, without the two knowing each other's class.
 */
export interface Holdable {
  /** Aborts when what is held is lost. */
  readonly signal: AbortSignal;
  /** Set where it ends by itself unless it is renewed. */
  readonly lease?: Lease | undefined;
  /** Adds a reference that lasts until `end`. */
  hold(): Hold;
}

/**
 * Held descriptors start here in the child: a shell's `exec 3>…` must not close them by chance, and Node passes on to its
 * own children what lies above its standard streams.
 */
export const FIRST_HELD_DESCRIPTOR = 60;

/** A right that ends at a deadline unless it is renewed. */
export interface Lease {
  /** When it ends, by `performance.now()`, in ms. What uses it must have ended by then. */
  readonly deadline: number;
  /** Aborts when it has ended or was lost. */
  readonly signal: AbortSignal;
  /** Calls back with the new deadline after each renewal, until disposed. */
  onRenew(listener: (deadline: number) => void): Disposable;
}

/** One child's reference. */
export interface Hold {
  /** Open descriptors for the child to inherit. */
  readonly descriptors: readonly number[];
  /** The child runs. */
  started(child: HoldingChild): void;
  /** The child's whole tree is gone, or it was never started. */
  end(): void;
}

export interface HoldingChild {
  readonly pid: number;
  readonly startTicks: number;
  terminate(reason?: unknown): Promise<unknown>;
}
