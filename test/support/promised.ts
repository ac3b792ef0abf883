/** Whether `test:stress` keeps all cores busy. */
export const isUnderLoad: boolean = Boolean(process.env.HOLDFAST_TEST_LOAD);

/**
 * A time that is promised, as a test may demand it. It holds where a core can be had; while `test:stress` keeps all of
 * them busy (`HOLDFAST_TEST_LOAD`) a process may wait for the scheduler alone for longer, so ten times as long is granted.
 */
export function promisedMs(ms: number): number {
  return isUnderLoad ? ms * 10 : ms;
}

/**
 * How long a test waits for what nobody promises a time of, such as the start of a program: what takes longer hangs. Under
 * load a Node alone has taken over 15 s to start.
 */
export function patienceMs(ms: number): number {
  return isUnderLoad ? 90_000 : ms;
}
