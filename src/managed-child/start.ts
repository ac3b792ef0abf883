import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { SpawnError } from '../errors.ts';
import type { Hold } from '../internal/hold.ts';
import { identityOf } from '../internal/proc.ts';
import { layOutDescriptors } from './descriptors.ts';
import { guard } from './guard.ts';
import type { Settings } from './options.ts';

/** A child that runs, registered with the guard, and what it holds. */
export interface Started {
  readonly process: ChildProcess;
  readonly holds: readonly Hold[];
}

/** Starts the leader of a new process group. If that fails nothing is held and a SpawnError tells why. */
export async function start(command: string, args: readonly string[], settings: Settings): Promise<Started> {
  const holds = settings.holds.map((held) => held.hold());
  try {
    const { cwd, env, stdio, graceMs, termSignal } = settings;
    const held = holds.flatMap(({ descriptors }) => descriptors);
    const process = spawn(command, args, { cwd, env, detached: true, stdio: layOutDescriptors(stdio, held) });
    if (process.pid === undefined) throw (await once(process, 'error'))[0];
    guard.add({ pgid: process.pid, startTicks: identityOf(process.pid).startTicks, graceMs, termSignal });
    process.on('error', () => {}); // a failed kill(2); the group's end is watched anyway
    return { process, holds };
  } catch (cause) {
    for (const { end } of holds) end();
    throw new SpawnError(command, cause);
  }
}
