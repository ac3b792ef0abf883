import type { Readable } from 'node:stream';
import { every, now } from '../internal/time.ts';

/**
 * Calls `onStall` when stdout has been silent for `timeoutMs`, up to a quarter later. It looks at counters only, so it
 * takes no part in who reads the stream; and while the reader holds the stream back, the silence is not the child's.
 */
export function watchForStall(stdout: Readable, timeoutMs: number, onStall: () => void): Disposable {
  let bytes = 0;
  let lastChange = now();
  return every(Math.max(timeoutMs / 4, 1), () => {
    const read = (stdout as Readable & { bytesRead?: number }).bytesRead ?? 0;
    const heldBack = stdout.readableLength >= stdout.readableHighWaterMark;
    if (read !== bytes || heldBack) {
      bytes = read;
      lastChange = now();
    } else if (now() - lastChange >= timeoutMs) onStall();
  });
}
