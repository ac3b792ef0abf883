import { firstHeldDescriptor, inheritedLocks } from '../managed-child/descriptors.ts';
import type { SourceLock } from '../source-lock/source-lock.ts';

/**
 * The environment of a command that holds the lock: `HOLDFAST_HELD` tells by which descriptors it does, and by which it has
 * the locks that this process was given by a wrapper of its own.
 */
export function environmentFor(lock: SourceLock): NodeJS.ProcessEnv {
  const own = Array.from({ length: countDescriptors(lock) }, (_, index) => firstHeldDescriptor() + index);
  return { ...process.env, HOLDFAST_HELD: [...inheritedLocks(), ...own].join(',') || undefined };
}

function countDescriptors(lock: SourceLock): number {
  const hold = lock.hold();
  hold.end();
  return hold.descriptors.length;
}
