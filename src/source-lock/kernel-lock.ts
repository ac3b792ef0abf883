import { LockUnsupportedError } from '../errors.ts';
import { type ProcessIdentity, read } from '../internal/proc.ts';

/**
 * Open-file-description locks (OFD, `fcntl(2)`): they belong to an open descriptor, are inherited with it, and vanish with
 * the last process that has it open.
 *
 * The length of the locked range carries who took it, so that `/proc/locks` shows pid and start time in the same instant
 * in which the lock exists, and not a moment longer. Every range contains byte 0: it is a mutex all the same.
 */
export interface KernelLock {
  tryLock(descriptor: number, taker: ProcessIdentity): boolean;
  unlock(descriptor: number, taker: ProcessIdentity): void;
}

const PID_BITS = 2 ** 22;
const TICKS_LIMIT = 2 ** 31;

let loading: Promise<KernelLock> | undefined;

/** Loaded when the first lock is taken: importing this package loads no binary. */
export function kernelLock(): Promise<KernelLock> {
  loading ??= import('fs-native-extensions').then(
    ({ default: addon }) => ({
      tryLock: (descriptor, taker) => addon.tryLock(descriptor, 0, rangeLength(taker)),
      unlock: (descriptor, taker) => addon.unlock(descriptor, 0, rangeLength(taker)),
    }),
    (cause) => {
      loading = undefined;
      throw new LockUnsupportedError(cause);
    },
  );
  return loading;
}

function rangeLength({ pid, startTicks }: ProcessIdentity): number {
  return (startTicks % TICKS_LIMIT) * PID_BITS + pid + 1;
}

/** Whether a process is the one that a range names; the range keeps only part of the start time. */
export function isTaker(taker: ProcessIdentity, { pid, startTicks }: ProcessIdentity): boolean {
  return taker.pid === pid && taker.startTicks === startTicks % TICKS_LIMIT;
}

/** Where the kernel keeps a lock: the file system's device, as `/proc/locks` writes it, and the inode. */
export interface KernelPlace {
  readonly device: string;
  readonly inode: number;
}

/** A snapshot of who took which lock; undefined where the system does not show it (`/proc/locks`). */
export function lockTable(): ((place: KernelPlace) => ProcessIdentity | undefined) | undefined {
  const table = read('/proc/locks');
  if (table === undefined) return undefined;
  return ({ device, inode }) => {
    const entry = new RegExp(`^\\d+: OFDLCK .* ${device}:${inode} 0 (\\d+)$`, 'm').exec(table);
    if (!entry) return undefined;
    const lastByte = Number(entry[1]);
    return { pid: lastByte % PID_BITS, startTicks: Math.floor(lastByte / PID_BITS) };
  };
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
