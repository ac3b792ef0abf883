/** Ends when it is told to; a process that exists only to be counted. */
export class FakeChild implements AsyncDisposable {
  readonly #closed = Promise.withResolvers<{ reason: string }>();
  readonly closed: Promise<{ reason: string }> = this.#closed.promise;
  isGone = false;
  canEnd = true;
  /** What disposing of it does. */
  onDispose: () => Promise<void> = async () => {
    if (!this.canEnd) throw new Error('it can not be ended');
    this.end('terminated');
  };

  end(reason: string): void {
    this.isGone = true;
    this.#closed.resolve({ reason });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.onDispose();
  }
}
