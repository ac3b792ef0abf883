import { closeSync, openSync, readdirSync } from 'node:fs';
import { devNull } from 'node:os';
import type { Stream } from 'node:stream';
import { FIRST_HELD_DESCRIPTOR } from '../internal/hold.ts';
import { descriptorInfo } from '../internal/proc.ts';

/**
 * Where a standard stream of the child goes: a pipe to this process, nowhere, this process's own, or an open descriptor, from
 * 0 to 2^31 - 1.
 */
export type ChildStdio = 'pipe' | 'ignore' | 'inherit' | number;

type Descriptor = ChildStdio | Stream;

/** The child's descriptors: what it holds comes above what this process itself holds for its own owner. */
export function layOutDescriptors(standard: readonly ChildStdio[], held: readonly number[]): Descriptor[] {
  if (held.length === 0) return [...standard];
  const gap = new Array<'ignore'>(firstHeldDescriptor() - standard.length).fill('ignore');
  return [...standard, ...gap, ...held];
}

/** In a child of this process. */
export function firstHeldDescriptor(): number {
  return Math.max(FIRST_HELD_DESCRIPTOR, ...inheritedLocks().map((descriptor) => descriptor + 1));
}

let inherited: readonly number[] | undefined;

/** The locks that this process holds for its own owner, by descriptor; its children get them too. */
export function inheritedLocks(): readonly number[] {
  inherited ??= openDescriptors()
    .filter(isInheritedLock)
    .sort((a, b) => a - b);
  return inherited;
}

function openDescriptors(): number[] {
  try {
    return readdirSync('/proc/self/fd').map(Number);
  } catch {
    return [];
  }
}

function isInheritedLock(descriptor: number): boolean {
  const info = descriptor < FIRST_HELD_DESCRIPTOR ? undefined : descriptorInfo(process.pid, descriptor);
  return info?.isInheritable === true && info.locks.length > 0;
}

/**
 * Throws the system's error if there are not enough descriptors to start a program with so many pipes: two for each, and two
 * by which it tells whether it could be started. Where only the last are missing Node tells it too, but leaves the pipes
 * open that it made, out of reach.
 */
export function needDescriptors(pipes: number): void {
  const opened: number[] = [];
  try {
    while (opened.length < 2 * pipes + 2) opened.push(openSync(devNull, 'r'));
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}
