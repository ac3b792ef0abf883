import { every } from '../internal/time.ts';

const CHECK_MS = 5_000;

const checks = new Set<() => void>();
let timer: Disposable | undefined;

/** Runs `check` every 5 s until disposed; one timer for all locks, none while there are none. */
export function watchPlace(check: () => void): Disposable {
  checks.add(check);
  timer ??= every(CHECK_MS, () => {
    for (const each of checks) each();
  });
  return {
    [Symbol.dispose]() {
      checks.delete(check);
      if (checks.size > 0) return;
      timer?.[Symbol.dispose]();
      timer = undefined;
    },
  };
}
