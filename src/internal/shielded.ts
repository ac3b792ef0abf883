/**
 * Calls what a user has supplied, in the middle of something that must go on: what it throws becomes an uncaught exception, as
 * with `EventTarget` and `node:diagnostics_channel`.
 */
export function shielded(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
