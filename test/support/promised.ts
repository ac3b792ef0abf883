/**
 * A time that is promised, as a test may demand it. It holds where a core can be had; while `test:stress` keeps all of
 * them busy (`HOLDFAST_TEST_LOAD`) a process may wait for the scheduler alone for longer, so ten times as long is granted.
 */
export function promisedMs(ms: number): number {
  return process.env.HOLDFAST_TEST_LOAD ? ms * 10 : ms;
}
