import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { redactCommand } from './redact.ts';

/**
 * Readers of `/proc`. All are synchronous (one read of a kernel file takes microseconds) and answer `undefined` where
 * the process or `/proc` is missing.
 */

/** A process, told apart from a later one with the same pid by its start time in clock ticks since boot. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
}

interface ProcessStat extends ProcessIdentity {
  readonly state: string;
  readonly parent: number;
  readonly processGroup: number;
  readonly flags: number;
  /** It runs no more. A zombie of which a thread goes on (on a hung disk) does: what it has open stays so for as long. */
  readonly hasEnded: boolean;
  /** It has ended, or is about to by itself: no program runs in it any more, and no signal changes that. */
  readonly isExiting: boolean;
}

export function processStat(pid: number): ProcessStat | undefined {
  return hasProc() ? parseStat(pid, read(`/proc/${pid}/stat`)) : undefined;
}

/**
 * The fields of `/proc/<pid>/stat` that matter here; the command's name may hold any character, so read from its end.
 * Self-contained: another process runs its text.
 */
export function parseStat(pid: number, stat: string | undefined): ProcessStat | undefined {
  if (!stat) return undefined;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0] ?? '?';
  const PF_EXITING = 0x4;
  const hasOneThread = Number(fields[17]) <= 1;
  return {
    pid,
    state,
    parent: Number(fields[1]),
    processGroup: Number(fields[2]),
    flags: Number(fields[6]),
    startTicks: Number(fields[19]),
    hasEnded: state === 'X' || (state === 'Z' && hasOneThread),
    isExiting: hasOneThread && (Number(fields[6]) & PF_EXITING) !== 0,
  };
}

/** Whether this very process runs; a zombie does not. `startTicks` 0 stands for unknown. */
export function isAlive({ pid, startTicks }: ProcessIdentity): boolean {
  const stat = processStat(pid);
  // There is no `/proc`, or it hides the processes of other users (`hidepid`); what is merely hidden is not dead.
  if (!stat) return canSignal(pid);
  if (stat.hasEnded) return false;
  return startTicks === 0 || stat.startTicks === startTicks;
}

/** The identity of a running process; start time 0 where it can't be read. */
export function identityOf(pid: number): ProcessIdentity {
  return { pid, startTicks: processStat(pid)?.startTicks ?? 0 };
}

/** As a process knows itself, in its own pid namespace. */
export function innerIdentityOf(pid: number): ProcessIdentity {
  const pids = /^NSpid:\s*(.+)$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1]?.split(/\s+/);
  return { ...identityOf(pid), pid: Number(pids?.at(-1)) };
}

let ownIdentity: ProcessIdentity | undefined;
export function self(): ProcessIdentity {
  ownIdentity ??= identityOf(process.pid);
  return ownIdentity;
}

/** The command line with its arguments separated by blanks; empty for a kernel thread or a zombie. */
export function commandLine(pid: number): string | undefined {
  return read(`/proc/${pid}/cmdline`)?.replace(/\0$/, '').replaceAll('\0', ' ');
}

/** The command line as people may see it: credentials removed. */
export function visibleCommandLine(pid: number): string {
  return redactCommand(commandLine(pid) || '(unknown)');
}

/** All pids of this pid namespace. */
export function allPids(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger);
  } catch {
    return [];
  }
}

/** The living members of a process group, zombies left out. */
export function membersOfGroup(processGroup: number): number[] {
  return allPids().filter((pid) => {
    const stat = processStat(pid);
    return stat?.processGroup === processGroup && !stat.hasEnded;
  });
}

/** How many processes and threads were ever started on this host. */
export function forkCount(): number | undefined {
  return Number(/^processes (\d+)$/m.exec(read('/proc/stat') ?? '')?.[1]) || undefined;
}

/** How many pids there are, at most, before they begin anew. */
export function pidLimit(): number {
  return Number(read('/proc/sys/kernel/pid_max')) || 0;
}

/** Where and when this process runs: pids mean something only within one boot and one pid namespace. */
export interface Surroundings {
  readonly host: string;
  readonly bootId: string;
  readonly pidNamespace: string;
}

let ownSurroundings: Surroundings | undefined;
export function surroundings(): Surroundings {
  ownSurroundings ??= {
    host: hostname(),
    bootId: read('/proc/sys/kernel/random/boot_id')?.trim() ?? '',
    pidNamespace: readLink('/proc/self/ns/pid')?.replace(/\D/g, '') ?? '',
  };
  return ownSurroundings;
}

/** What the kernel tells of an open descriptor. */
export interface DescriptorInfo {
  /** Passed on to other programs: what a Node process opened itself is closed when it starts one (`O_CLOEXEC`). */
  readonly isInheritable: boolean;
  /** The locks of its open file, as `/proc/locks` writes them. */
  readonly locks: readonly string[];
}

/** Undefined too if it is another user's and may not be seen. */
export function descriptorInfo(pid: number, descriptor: number | string): DescriptorInfo | undefined {
  const info = read(`/proc/${pid}/fdinfo/${descriptor}`);
  if (info === undefined) return undefined;
  const O_CLOEXEC = 0o2000000;
  const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '0', 8);
  const locks = info.includes('\nlock:') ? info.split('\n').filter((line) => line.startsWith('lock:')) : [];
  return { isInheritable: (flags & O_CLOEXEC) === 0, locks };
}

/** Whether this is not the pid namespace of the host, whose inode is fixed (`PROC_PID_INIT_INO`). */
export function isContained(): boolean {
  return surroundings().pidNamespace !== '4026531836';
}

let isOurs: boolean | undefined;

/** Whether there is a `/proc`, and of this pid namespace: in that of another the numbers are those of other processes. */
export function hasProc(): boolean {
  isOurs ??= readLink('/proc/self') === String(process.pid);
  return isOurs;
}

const TICKS_PER_SECOND = 100;

/** How many milliseconds ago the process started; NaN where that can't be told. The resolution is a clock tick (10 ms). */
export function ageMs({ startTicks }: ProcessIdentity): number {
  const upSeconds = Number(read('/proc/uptime')?.split(' ')[0]);
  return (upSeconds - startTicks / TICKS_PER_SECOND) * 1000;
}

/** When the process started, by the wall clock; the resolution is a clock tick. */
export function startedAt({ startTicks }: ProcessIdentity): Date | undefined {
  const bootSeconds = read('/proc/stat')?.match(/^btime (\d+)$/m)?.[1];
  return bootSeconds && startTicks ? new Date((Number(bootSeconds) + startTicks / TICKS_PER_SECOND) * 1000) : undefined;
}

export function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

export function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Signals a process, if it is there and this user's. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // what it should bring about is waited for, and told when it takes too long
  }
}

function canSignal(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
