/** Where the slices of one subscription go. After one of the four endings nothing else is called. */
export interface Sink {
  /** Bytes given that were not taken yet, as far as this process can see. */
  readonly lagBytes: number;
  /** Calls back once if the receiving side goes away by itself. */
  open(onGone: (error?: unknown) => void): void;
  write(slices: readonly Buffer[]): void;
  /** Forgets what it has not begun to hand on; tells how many bytes. */
  discard(): number;
  /** No more slices come: what is queued still goes out, then `done` is called. `drop` may cut that short. */
  finish(done: () => void): void;
  /** The source failed. */
  fail(error: unknown): void;
  /** The subscriber lagged: frees what is queued at once. */
  drop(error: unknown): void;
  /** The subscriber leaves: the receiving side is handed back as it is. */
  release(): void;
}
