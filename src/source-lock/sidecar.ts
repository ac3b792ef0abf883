import { randomUUID } from 'node:crypto';
import { closeSync, fchmodSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { type ProcessIdentity, self, surroundings } from '../internal/proc.ts';
import { redactCredentials } from '../internal/redact.ts';
import { wallClock } from '../internal/time.ts';

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
  /** Tells a lock file that was moved away from the one that is there. */
  readonly lockInode: number;
  /** Children that hold the lock too. */
  readonly children: readonly ProcessIdentity[];
  /** The owner has let go; what it started may not have. */
  readonly released?: string;
}

/** What the lock itself knows of a tenure. */
type Tenure = Pick<Sidecar, 'key' | 'fence' | 'lockInode'>;

export function newSidecar(tenure: Tenure, command: string | undefined): Sidecar {
  const cmd = redactCredentials(command ?? process.argv.join(' '));
  const started = wallClock().toISOString();
  return { token: randomUUID(), ...tenure, ...self(), ...surroundings(), started, cmd, children: [] };
}

function sidecarPath(lockPath: string): string {
  return `${lockPath}.meta`;
}

/** What the sidecar says; undefined if there is none or it is not ours to read or not whole. */
export function readSidecar(lockPath: string): Sidecar | undefined {
  try {
    const meta: unknown = JSON.parse(readFileSync(sidecarPath(lockPath), 'utf8'));
    return isSidecar(meta) ? meta : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Readers see the old one or the new one, never half of one. Whatever has the temporary name is not written to: it may be
 * a link, or another user's.
 */
export function writeSidecar(lockPath: string, meta: Sidecar): void {
  const path = sidecarPath(lockPath);
  rmSync(`${path}.tmp`, { force: true });
  const descriptor = openSync(`${path}.tmp`, 'wx', 0o660);
  try {
    fchmodSync(descriptor, 0o660);
    writeSync(descriptor, `${JSON.stringify(meta)}\n`);
  } finally {
    closeSync(descriptor);
  }
  renameSync(`${path}.tmp`, path);
}

export function removeSidecar(lockPath: string): void {
  rmSync(sidecarPath(lockPath), { force: true });
}

function isSidecar(value: unknown): value is Sidecar {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, startTicks, token, host, started, cmd, children } = value as Record<string, unknown>;
  const isTexts = [token, host, started, cmd].every((text) => typeof text === 'string');
  return isTexts && Number.isInteger(pid) && Number.isInteger(startTicks) && Array.isArray(children);
}
