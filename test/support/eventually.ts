import { promisedMs } from './promised.ts';

const OFTEN_MS = 5;
/** What takes longer than this is promised in seconds: looking on so often would only take the time of who is waited for. */
const OFTEN_FOR_MS = 1_000;
const SELDOM_MS = 20;

/** Calls `check` until it no longer throws and returns its result; past the deadline its last error is thrown. */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs: number = promisedMs(5_000)): Promise<T> {
  const begun = performance.now();
  const deadline = begun + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await pause(performance.now() - begun < OFTEN_FOR_MS ? OFTEN_MS : SELDOM_MS);
  }
}

/** Calls `check` again and again for so long; it must never throw. */
export async function throughout(ms: number, check: () => void): Promise<void> {
  const end = performance.now() + ms;
  do {
    check();
    await pause(OFTEN_MS);
  } while (performance.now() < end);
  check();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
