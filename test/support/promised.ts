const isUnderLoad = Boolean(process.env.HOLDFAST_TEST_LOAD);

/**
 * A time that is promised, as a test may demand it. It holds where a core can be had; while `test:stress` keeps all of
 * them busy (`HOLDFAST_TEST_LOAD`) a process may wait for the scheduler alone for longer, so ten times as long is granted.
 */
export function promisedMs(ms: number): number {
  return isUnderLoad ? ms * 10 : ms;
}

/** What takes longer hangs. It is no time that is promised: under load a Node alone has taken over 15 s to start. */
export const HANG_MS: number = isUnderLoad ? 90_000 : 30_000;
