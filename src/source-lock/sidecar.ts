import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { type ProcessIdentity, type Surroundings, self, surroundings } from '../internal/proc.ts';
import { wallClock } from '../internal/time.ts';
import { shareWithGroup } from './directory.ts';
import { directoryError } from './directory-error.ts';

/**
 * The sidecar `<lock>.meta` explains a lock to people and to those who are refused. It decides nothing: the kernel does.
 * Only the holder writes it.
 */
export interface Sidecar extends ProcessIdentity {
  /** Tells this tenure from all others. */
  readonly token: string;
  readonly key: string;
  readonly host: string;
  /** When the lock was acquired: ISO 8601, UTC. */
  readonly started: string;
  /** Command line, credentials removed. */
  readonly cmd: string;
  readonly bootId: string;
  readonly pidNamespace: string;
  readonly fence: string;
  /** The holder's descriptor that is locked: what `/proc/<pid>/fdinfo` shows of it proves that it holds. */
  readonly descriptor?: number;
  /** Tells a lock file that was moved away from the one that is there; a decimal, since it may have 64 bits. */
  readonly lockInode?: string;
  /** Children that hold the lock too. */
  readonly children: readonly ProcessIdentity[];
  /** The owner has let go; what it started may not have. */
  readonly released?: string;
}

/** What the lock itself knows of a tenure. */
type Known = Pick<Sidecar, 'key' | 'fence' | 'cmd' | 'descriptor' | 'lockInode'>;

let own: (ProcessIdentity & Surroundings) | undefined;

export function newSidecar(known: Known): Sidecar {
  const started = wallClock().toISOString();
  own ??= { ...self(), ...surroundings() };
  return { token: randomUUID(), ...known, ...own, started, children: [] };
}

function sidecarPath(lockPath: string): string {
  return `${lockPath}.meta`;
}

/** What is no file must not hold up who reads it. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK;

/**
 * What the sidecar says; undefined if there is none or it is not ours to read or not whole.
 *
 * @throws LockDirectoryError if this process can open no file now.
 */
export function readSidecar(lockPath: string): Sidecar | undefined {
  const path = sidecarPath(lockPath);
  try {
    // There is none most of the time, and an error costs six times as much as a look.
    const meta: unknown = existsSync(path)
      ? JSON.parse(readFileSync(path, { encoding: 'utf8', flag: READ as unknown as string }))
      : undefined;
    return isSidecar(meta) ? meta : undefined;
  } catch (error) {
    const failure = directoryError(dirname(path), error);
    if (failure.retryable) throw failure; // that says nothing of the sidecar
    return undefined;
  }
}

/** Readers see the old one or the new one, never half of one. */
export function writeSidecar(lockPath: string, meta: Sidecar): void {
  const path = sidecarPath(lockPath);
  const temporary = `${path}.tmp`;
  const descriptor = openNew(temporary);
  try {
    shareWithGroup(descriptor, path);
    // Until all is written: on a disk that is nearly full one write may write a part.
    writeFileSync(descriptor, `${JSON.stringify(meta)}\n`);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** Whatever has the name is not written to: a dead holder left it, or it is a link, or another user's. */
function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o660);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    rmSync(path, { force: true });
    return openSync(path, 'wx', 0o660);
  }
}

export function removeSidecar(lockPath: string): void {
  try {
    unlinkSync(sidecarPath(lockPath));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function isSidecar(value: unknown): value is Sidecar {
  if (!isProcess(value)) return false;
  const { token, host, started, cmd, bootId, pidNamespace, children } = value as Partial<Sidecar>;
  const areTexts = [token, host, started, cmd, bootId, pidNamespace].every((text) => typeof text === 'string');
  return (
    areTexts && !Number.isNaN(Date.parse(started as string)) && Array.isArray(children) && children.every(isProcess)
  );
}

function isProcess(value: unknown): value is ProcessIdentity {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, startTicks } = value as Partial<ProcessIdentity>;
  return Number.isInteger(pid) && Number.isInteger(startTicks);
}
