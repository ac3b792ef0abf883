import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { SpawnError } from '../errors.ts';
import type { Hold } from '../internal/hold.ts';
import { identityOf } from '../internal/proc.ts';
import { redactCredentials } from '../internal/redact.ts';
import { layOutDescriptors } from './descriptors.ts';
import { guard } from './guard.ts';
import type { Settings } from './options.ts';
import { ProcessGroup } from './process-group.ts';
import { tagged } from './tag.ts';

/** A child that runs, registered with the guard, and what it holds. */
export interface Started {
  readonly process: ChildProcess;
  readonly group: ProcessGroup;
  readonly holds: readonly Hold[];
}

/** Starts the leader of a new process group. If that fails nothing is held and an error tells why. */
export async function start(command: string, args: readonly string[], settings: Settings): Promise<Started> {
  settings.signal?.throwIfAborted();
  for (const held of settings.holds) held.signal.throwIfAborted();
  const holds: Hold[] = [];
  try {
    for (const held of settings.holds) holds.push(held.hold());
    const process = await launch(command, args, settings, holds);
    const group = new ProcessGroup(identityOf(process.pid as number));
    guard.add({ leader: group.leader, graceMs: settings.graceMs, termSignal: settings.termSignal });
    return { process, group, holds };
  } catch (error) {
    for (const hold of holds) hold.end();
    throw error;
  }
}

/** Resolves in the same turn as the process is started, so that the guard learns of it at once. */
async function launch(
  command: string,
  args: readonly string[],
  { cwd, env = process.env, stdio }: Settings,
  holds: readonly Hold[],
): Promise<ChildProcess> {
  const descriptors = holds.flatMap((held) => held.descriptors);
  const failed = (cause: unknown) => new SpawnError(command, hidingArguments(cause));
  let child: ChildProcess;
  try {
    child = spawn(command, args, {
      cwd,
      env: tagged(env),
      detached: true,
      stdio: layOutDescriptors(stdio, descriptors),
    });
  } catch (cause) {
    throw failed(cause);
  }
  if (child.pid === undefined) throw failed((await once(child, 'error'))[0]);
  // Without a listener an error of kill(2), or of a pipe whose other end is gone, would end this process.
  for (const emitter of [child, child.stdin, child.stdout, child.stderr]) emitter?.on('error', () => {});
  return child;
}

/** Node puts the arguments into its error; a URL with a password may be among them, and a log prints causes. */
function hidingArguments(cause: unknown): unknown {
  if (typeof cause === 'object' && cause !== null && 'spawnargs' in cause) {
    cause.spawnargs = (cause.spawnargs as string[]).map(redactCredentials);
  }
  return cause;
}
