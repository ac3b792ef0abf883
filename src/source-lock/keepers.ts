import { readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import * as proc from '../internal/proc.ts';
import { directoryError } from './directory-error.ts';
import { type DescriptorLock, lockOf } from './lock-table.ts';

/** A lock file that is there, or was at this path. */
export interface LockedFile {
  readonly path: string;
  readonly inode: string;
}

export function inodeOf(path: string): string | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino.toString();
  } catch (error) {
    throw directoryError(dirname(path), error);
  }
}

/** A process that has a lock, by a descriptor that it opened or one that it was given. */
export interface Keeper {
  readonly pid: number;
  readonly lock: DescriptorLock;
}

/** Of the flags of a process: forked, and still the program of its parent. */
const PF_FORKNOEXEC = 0x40;
/** Longer than it takes from a fork to its program, on a busy host too. */
const FORK_MS = 1_000;

/** Those of the processes that have the lock, the eldest first; who merely has the file open does not hold it. */
export function withLock({ path, inode }: LockedFile, pids: readonly number[]): Keeper[] {
  const real = realPath(path);
  const locksIn = (pid: number) =>
    descriptorsOf(pid, real).flatMap((descriptor) => lockOf(pid, descriptor, inode) ?? []);
  const lockIn = (pid: number) => locksIn(pid)[0];
  /** A part of its parent, which has the lock too, or about to become a program that has not, its parent being dead or not. */
  const isMereFork = (pid: number) => {
    const stat = proc.processStat(pid);
    if (!stat || (stat.flags & PF_FORKNOEXEC) === 0) return false;
    if (lockIn(stat.parent)) return true;
    return proc.ageMs(stat) < FORK_MS && locksIn(pid).some(({ closesOnExec }) => closesOnExec);
  };
  const keepers = pids.flatMap((pid) => {
    if (!lockIn(pid) || isMereFork(pid)) return [];
    // If it was one when it was looked at first, it is another program by now.
    const lock = lockIn(pid);
    return lock && !isLockingForAnother(pid) ? [{ ...proc.identityOf(pid), lock }] : [];
  });
  return keepers.sort((a, b) => a.startTicks - b.startTicks);
}

/** The processes that have the lock of this file by a descriptor, but for `taker`; the eldest first. */
export function inheritorsOf(path: string, taker: number): number[] {
  const inode = inodeOf(path);
  return inode === undefined ? [] : withLock({ path, inode }, others(taker)).map(({ pid }) => pid);
}

/** All processes but one. */
export function others(one: number | undefined): number[] {
  return proc.allPids().filter((pid) => pid !== one);
}

/** The program flock that the backend of that name runs, or what is about to become it. */
export function isLockingForAnother(pid: number): boolean {
  const command = proc.commandLine(pid);
  return !command || /(^|\/)flock -(x -n|x -w [\d.]+|u) 3$/.test(command);
}

function realPath(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path;
  }
}

function descriptorsOf(pid: number, path: string): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).filter((descriptor) => proc.readLink(`${folder}/${descriptor}`) === path);
  } catch {
    return []; // another user's, or gone
  }
}

/** As those of another user's processes may be. */
export function hidesDescriptors(pid: number): boolean {
  try {
    readdirSync(`/proc/${pid}/fd`);
    return false;
  } catch {
    return true;
  }
}
