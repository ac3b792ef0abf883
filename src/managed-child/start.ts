import type { ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import { ContainmentError } from '../errors.ts';
import type { Hold } from '../internal/hold.ts';
import { hasProc, identityOf } from '../internal/proc.ts';
import { Cgroup, cgroupPlace } from './cgroup.ts';
import { encodeManner, guard } from './guard.ts';
import { launch, lostVariable } from './launch.ts';
import { checkLeases, firstDeadline } from './lease.ts';
import type { Settings } from './options.ts';
import { ProcessGroup } from './process-group.ts';
import { ProcessTree } from './process-tree.ts';
import { forksBefore } from './sweeper.ts';

/** A child that runs, registered with the guard, and what it holds. */
export interface Started {
  readonly process: ChildProcess;
  readonly tree: ProcessTree;
  readonly holds: readonly Hold[];
}

let lastSequence = 0;

/** What tells the children of this process apart, and their age. */
function nextSequence(): number {
  lastSequence += 1;
  return lastSequence;
}

/**
 * Starts the leader of a new process group. If that fails nothing is held and an error tells why.
 *
 * @param pipe where lines to the guard go.
 */
export async function start(settings: Settings, pipe: Writable): Promise<Started> {
  settings.signal?.throwIfAborted();
  for (const held of settings.holds) held.signal.throwIfAborted();
  checkLeases(settings);
  const sequence = nextSequence();
  const manner = { graceMs: settings.graceMs, termSignal: settings.termSignal, sequence };
  const deadlineMs = firstDeadline(settings.leases);
  const cgroup = contain(settings, sequence);
  const forks = forksBefore();
  const holds: Hold[] = [];
  try {
    for (const held of settings.holds) holds.push(held.hold());
    const held = holds.flatMap(({ descriptors }) => descriptors);
    const registration = registersItself(settings) ? { pipe, line: encodeManner(manner) } : undefined;
    const process = await launch({ settings, sequence, held, cgroup: cgroup?.path, registration });
    const group = new ProcessGroup(identityOf(process.pid as number));
    guard.add({ leader: group.leader, ...manner, deadlineMs });
    return { process, tree: new ProcessTree({ group, sequence, forks, cgroup }), holds };
  } catch (error) {
    cgroup?.remove();
    for (const hold of holds) hold.end();
    throw error;
  }
}

function registersItself(settings: Settings): boolean {
  return !hasProc() && process.platform !== 'win32' && lostVariable(settings) === undefined;
}

function contain(settings: Settings, sequence: number): Cgroup | undefined {
  if (settings.containment === 'group') return undefined;
  const lost = lostVariable(settings);
  const cgroup = lost === undefined ? Cgroup.create(sequence) : undefined;
  if (cgroup || settings.containment === 'auto') return cgroup;
  if (lost !== undefined)
    throw new ContainmentError(`the shell that enters it would lose or change the variable ${lost} of env`);
  const place = cgroupPlace();
  throw new ContainmentError('why' in place ? place.why : `none can be made below ${place.directory}`);
}
