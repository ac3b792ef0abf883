import { promisedMs } from './promised.ts';

/** Calls `check` until it no longer throws and returns its result; past the deadline its last error is thrown. */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs: number = promisedMs(5_000)): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await pause();
  }
}

/** Calls `check` again and again for so long; it must never throw. */
export async function throughout(ms: number, check: () => void): Promise<void> {
  const end = performance.now() + ms;
  do {
    check();
    await pause();
  } while (performance.now() < end);
  check();
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}
