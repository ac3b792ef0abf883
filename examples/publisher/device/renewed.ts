/** Something that runs, and is begun anew when what it was begun with no longer holds. */
export class Renewed implements AsyncDisposable {
  #key: string | undefined;
  #running: AsyncDisposable | undefined;

  /**
   * Runs for `key`: as it does already, or anew.
   *
   * @throws what `begin` throws; then nothing runs, and the next call begins again.
   */
  async run(key: string, begin: () => Promise<AsyncDisposable>): Promise<void> {
    if (this.#key === key) return;
    await this[Symbol.asyncDispose]();
    this.#running = await begin();
    this.#key = key;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    this.#key = undefined;
    await running?.[Symbol.asyncDispose]();
  }
}
