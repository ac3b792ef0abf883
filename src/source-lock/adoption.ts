import { fstatSync } from 'node:fs';
import type { ProcessIdentity } from '../internal/proc.ts';
import type { LockPlace, Patience, TakenLock, Tenure } from './backend.ts';
import type { KernelLock } from './kernel-lock.ts';
import { isAt, LockFile } from './lock-file.ts';
import { lockOf } from './lock-table.ts';

/**
 * The descriptor by which this process was given the lock of a place, by the program that started it: `HOLDFAST_HELD` has
 * the numbers of such descriptors, separated by commas.
 */
export function inheritedLock({ path }: LockPlace): number | undefined {
  return process.env.HOLDFAST_HELD?.split(',')
    .map(Number)
    .find((descriptor) => isLockOf(path, descriptor));
}

/** The variable may be older than this process: what counts is that the descriptor is there, was given and has the lock. */
function isLockOf(path: string, descriptor: number): boolean {
  try {
    const opened = fstatSync(descriptor, { bigint: true });
    const inode = String(opened.ino);
    return isAt({ path, descriptor }, opened) && lockOf(process.pid, descriptor, inode)?.hasInherited === true;
  } catch {
    return false;
  }
}

/**
 * A lock within the lock that this process inherited: of all that the wrapper started, and whoever they start, only one
 * adopts it at a time. What is released is this one; the outer lock ends with the wrapper.
 */
export class AdoptedLock implements TakenLock {
  readonly key: string;
  readonly path: string;
  readonly #outer: number;
  readonly #inner: LockFile;

  static async take(
    kernel: KernelLock,
    { key, path }: LockPlace,
    outer: number,
    patience?: Patience,
  ): Promise<AdoptedLock | undefined> {
    let innerPath = `${path}.adopted`;
    // A wrapper in between adopted the lock itself, and gave on what it took for that as well.
    while (inheritedLock({ key, path: innerPath }) !== undefined) innerPath += '.adopted';
    const inner = await LockFile.take(kernel, { key, path: innerPath }, patience);
    return inner && new AdoptedLock({ key, path }, outer, inner);
  }

  private constructor({ key, path }: LockPlace, outer: number, inner: LockFile) {
    this.key = key;
    this.path = path;
    this.#outer = outer;
    this.#inner = inner;
  }

  get lost(): AbortSignal {
    return this.#inner.lost;
  }

  begin(command: string): Promise<Tenure> {
    return this.#inner.begin(command, { path: this.path, descriptor: this.#outer });
  }

  /** The outer lock is inherited by itself, by whatever this process starts. */
  share(): readonly number[] {
    return this.#inner.share();
  }

  sharers(): readonly number[] {
    return this.#inner.sharers();
  }

  recordChildren(children: readonly ProcessIdentity[]): void {
    this.#inner.recordChildren(children);
  }

  release(): Promise<void> {
    return this.#inner.release();
  }
}
