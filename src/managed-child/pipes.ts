import type { Readable } from 'node:stream';
import { now, sleep } from '../internal/time.ts';
import { watchForSilence } from './silence.ts';

/** How long the pipes may drain once every process of the tree is gone. */
const DRAIN_MS = 200;

/** Waits until a pipe that this process reads has ended; a process that left the group may hold it open for ever. */
export async function drain(pipe: Readable | null): Promise<void> {
  const deadline = now() + DRAIN_MS;
  for (let waitMs = 1; pipe && !pipe.destroyed && !pipe.readableEnded && now() < deadline; waitMs *= 2) {
    await sleep(waitMs);
  }
  pipe?.destroy();
}

/** What is in the pipe is still the reader's; then it ends, even if a process outside of the group holds it open. */
export function endWhenSilent(pipe: Readable | null): void {
  if (!pipe || pipe.destroyed || pipe.readableEnded) return;
  const watch = watchForSilence(pipe, DRAIN_MS, () => {
    watch[Symbol.dispose]();
    pipe.push(null);
  });
  pipe.once('close', () => watch[Symbol.dispose]());
}
