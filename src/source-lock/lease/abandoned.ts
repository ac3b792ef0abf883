import type { LockHolder } from '../../errors.ts';
import * as proc from '../../internal/proc.ts';
import { now } from '../../internal/time.ts';
import type { LockPlace } from '../backend.ts';
import { toHolder } from '../holder.ts';
import { readSidecar, type Sidecar } from '../sidecar.ts';
import type { HeldEntry } from './entry.ts';
import type { LeaseDirectory } from './lease-directory.ts';
import { STALE_MS } from './lease-term.ts';

/** A heartbeat as this process saw it. */
interface Sighting {
  readonly token: string;
  readonly beatMs: number | undefined;
  /** By the monotonic clock of this process: no clock of another host and no setting of a clock changes it. */
  readonly sinceMs: number;
}

/** The last sighting of each lock, by its path, while another has it. */
const sightings = new Map<string, Sighting>();

/** Forgets a lock that is free, or this process's own. */
export function forget(path: string): void {
  sightings.delete(path);
}

/**
 * Whether the holder of a lock has it no more: it is known to be dead, which is so for processes of this host alone; or its
 * heartbeat stood still, from one look of this process to another that is {@link STALE_MS} later.
 */
export async function isAbandoned(path: string, entry: HeldEntry, directory: LeaseDirectory): Promise<boolean> {
  const meta = sidecarOf(path, entry);
  if (meta && isDead(meta) && survivorsOf(meta).length === 0) return true;
  const askedMs = now();
  const beatMs = await directory.lastBeat(entry);
  const before = sightings.get(path);
  if (before?.token === entry.token && before.beatMs === beatMs) return askedMs - before.sinceMs >= STALE_MS;
  sightings.set(path, { token: entry.token, beatMs, sinceMs: now() });
  return false;
}

/** Who has the lock, or for its dead owner a child that lives; undefined while the holder has not said who it is. */
export function holderOf(place: LockPlace, entry: HeldEntry): LockHolder | undefined {
  const meta = sidecarOf(place.path, entry);
  if (!meta) return undefined;
  const holder = toHolder(place, meta, 'meta');
  const [pid, ...others] = isDead(meta) ? survivorsOf(meta) : [];
  if (pid === undefined) return holder;
  const command = proc.visibleCommandLine(pid);
  return { ...holder, pid, command, orphanOf: meta.pid, children: [pid, ...others] };
}

/** A sidecar of another tenure says nothing of this one. */
function sidecarOf(path: string, entry: HeldEntry): Sidecar | undefined {
  const meta = readSidecar(path);
  return meta?.token === entry.token ? meta : undefined;
}

/** Pids mean something only on the host, since the boot and in the pid namespace that they are of. */
function isDead(meta: Sidecar): boolean {
  const { host, bootId, pidNamespace } = proc.surroundings();
  const isOfHere = meta.host === host && meta.bootId === bootId && meta.pidNamespace === pidNamespace;
  return isOfHere && bootId !== '' && !proc.isAlive(meta);
}

/** Children that have the lock too, and what their process groups have left: an owner's death ends them, but not at once. */
function survivorsOf({ children }: Sidecar): number[] {
  return children.flatMap((child) => (proc.isAlive(child) ? [child.pid] : proc.membersOfGroup(child.pid)));
}
