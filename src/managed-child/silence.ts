import type { Readable } from 'node:stream';
import { afterPoll, every, now } from '../internal/time.ts';

/**
 * Calls `onSilence` when stdout gave nothing for `timeoutMs`, up to a quarter later. It looks at counters only, so it takes
 * no part in who reads the stream. While there is something that nobody has read, the silence is not the child's; nor
 * is it while this event loop was blocked, so what waits in the pipe is looked for before the silence counts.
 */
export function watchForSilence(stdout: Readable, timeoutMs: number, onSilence: () => void): Disposable {
  let bytes = 0;
  let lastChange = now();
  const isSilent = () => {
    const read = (stdout as Readable & { bytesRead?: number }).bytesRead ?? 0;
    if (read === bytes && stdout.readableLength === 0) return now() - lastChange >= timeoutMs;
    bytes = read;
    lastChange = now();
    return false;
  };
  return every(Math.max(timeoutMs / 4, 1), () => {
    if (isSilent()) afterPoll(() => isSilent() && onSilence());
  });
}
