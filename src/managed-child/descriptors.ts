import type { StdioOptions } from 'node:child_process';

/**
 * Held descriptors start here in the child: a shell's `exec 3>…` must not close them by chance, and Node passes on to its
 * own children what lies above its standard streams.
 */
export const FIRST_HELD_DESCRIPTOR = 60;

/** Where a standard stream of the child goes: a pipe to this process, nowhere, this process's own, or a descriptor. */
export type ChildStdio = 'pipe' | 'ignore' | 'inherit' | number;

export function layOutDescriptors(standard: readonly ChildStdio[], held: readonly number[]): StdioOptions {
  if (held.length === 0) return [...standard];
  const gap = new Array<'ignore'>(FIRST_HELD_DESCRIPTOR - standard.length).fill('ignore');
  return [...standard, ...gap, ...held];
}
