/**
 * What a child can hold together with its owner: its descriptors go to the child, and its loss ends the child.
 * `SourceLock` is one and `ManagedChild` uses it, without the two knowing each other's class.
 */
export interface Holdable {
  /** Aborts when what is held is lost. */
  readonly signal: AbortSignal;
  /** Adds a reference that lasts until `end`. */
  hold(): Hold;
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
