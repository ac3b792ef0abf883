import { FIRST_HELD_DESCRIPTOR } from '../internal/hold.ts';
import { descriptorInfo, type ProcessIdentity, read } from '../internal/proc.ts';
import type { LockKind } from './kernel-lock.ts';
import { takerOf } from './open-file-lock.ts';

/** What the kernel shows of locks: of all in `/proc/locks`, of one open file in its `fdinfo`. */

/** A file as the kernel knows it: the device of its file system, as `/proc/locks` writes it, and the inode. */
interface KernelPlace {
  readonly kind: LockKind;
  /** Any, if that is not known any more. */
  readonly device?: string;
  readonly inode: string;
}

/**
 * The locks there are; undefined where the system does not show them. It answers who took a lock: the start
 * time of one that took a flock(2) is not known, nor its pid (0) if it has ended.
 */
export type LockTable = ((place: KernelPlace) => ProcessIdentity | undefined) | undefined;

export function lockTable(): LockTable {
  const first = read('/proc/locks');
  // Where a sandbox hides the file it may be there and empty.
  if (!first) return undefined;
  const readings = [first];
  return (place) => {
    for (let index = 0; index < READINGS; index++) {
      readings[index] ??= read('/proc/locks') ?? '';
      const taker = takerIn(readings[index] as string, place);
      if (taker || first.length < PAGE) return taker;
    }
    return undefined;
  };
}

/** The kernel hands the table out a page at a time, and skips a line if one before it goes meanwhile. */
const PAGE = 4_000;
const READINGS = 3;

function takerIn(table: string, place: KernelPlace): ProcessIdentity | undefined {
  const { kind, device = '[0-9a-f]+:[0-9a-f]+', inode } = place;
  // Those that wait for a lock are shown too, behind an arrow.
  const type = kind === 'kernel' ? 'OFDLCK' : 'FLOCK';
  const line = new RegExp(`^\\d+: ${type} .* (-?\\d+) ${device}:${inode} 0 (\\d+|EOF)$`, 'm').exec(table);
  if (!line) return undefined;
  return kind === 'kernel' ? takerOf(Number(line[2])) : { pid: Number(line[1]), startTicks: 0 };
}

/** The lock that a descriptor has. */
export interface DescriptorLock {
  /** Whether the process was given the descriptor by a holder, and did not open the file itself. */
  readonly hasInherited: boolean;
  /** Whether it is closed when the process becomes another program. */
  readonly closesOnExec: boolean;
  /** Who took it, if it is a range of ours. */
  readonly taker: ProcessIdentity | undefined;
}

/** The lock that this descriptor of this process has on the inode. */
export function lockOf(pid: number, descriptor: number | string, inode: string): DescriptorLock | undefined {
  const info = descriptorInfo(pid, descriptor);
  const lock = info?.locks.find((each) => each.includes(`:${inode} 0 `));
  if (!info || !lock) return undefined;
  const end = Number(lock.slice(lock.lastIndexOf(' ') + 1));
  const taker = lock.includes('OFDLCK') && Number.isFinite(end) ? takerOf(end) : undefined;
  // What a shell opens is inheritable too, but far below.
  const hasInherited = info.isInheritable && Number(descriptor) >= FIRST_HELD_DESCRIPTOR;
  return { hasInherited, closesOnExec: !info.isInheritable, taker };
}

/**
 * The device of an open file as the kernel counts it. `stat` tells another one on btrfs and overlayfs, so it is read from
 * the mount.
 */
export function kernelDevice(descriptor: number): string {
  const mount = /^mnt_id:\s*(\d+)$/m.exec(read(`/proc/self/fdinfo/${descriptor}`) ?? '')?.[1];
  const numbers = new RegExp(`^${mount} \\d+ (\\d+):(\\d+) `, 'm').exec(read('/proc/self/mountinfo') ?? '');
  const hex = (part: string | undefined) =>
    Number(part ?? 0)
      .toString(16)
      .padStart(2, '0');
  return `${hex(numbers?.[1])}:${hex(numbers?.[2])}`;
}
