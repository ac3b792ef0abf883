import { once } from 'node:events';
import type { ManagedChild } from 'holdfast';

/** Writes to a child's stdin as fast as it reads, and no faster. Resolves when there is room again, or it is gone. */
export async function feed({ stdin, exited }: ManagedChild, bytes: Buffer): Promise<void> {
  if (!stdin?.writable || stdin.write(bytes)) return;
  const gone = new AbortController();
  const drained = once(stdin, 'drain', { signal: gone.signal }).catch(() => {});
  await Promise.race([drained, exited]);
  gone.abort();
}
