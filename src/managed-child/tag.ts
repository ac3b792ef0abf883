import { randomBytes } from 'node:crypto';
import { threadId } from 'node:worker_threads';
import { isAlive, type ProcessIdentity, read, self, surroundings } from '../internal/proc.ts';

/**
 * Every child carries a variable of its owner's in its environment, and what it starts inherits it: whose it is, wherever
 * it has gone. Each owner has a variable of its own, so that a child of an owner which is itself a child carries both.
 */
const PREFIX = 'HOLDFAST_CHILD_';

let ownTag: string | undefined;

/**
 * The name of this owner's variable, which also names its cgroups: boot, pid namespace, pid, start time and thread, and
 * something random, for a program that replaces itself keeps all of those. Letters, digits and `_` only: a shell drops
 * any other variable.
 */
export function tagName(): string {
  ownTag ??= makeTagName();
  return ownTag;
}

function makeTagName(): string {
  const { bootId, pidNamespace } = surroundings();
  const { pid, startTicks } = self();
  const random = randomBytes(4).toString('hex');
  return PREFIX + [bootId.replaceAll('-', ''), pidNamespace, pid, startTicks, threadId, random].join('_');
}

/** The environment of a child of this process; the `;` tells child 1 from child 12 where only text can be searched. */
export function tagged(env: NodeJS.ProcessEnv, sequence: number): NodeJS.ProcessEnv {
  return { ...env, ...inheritedTags(), [tagName()]: `${sequence};` };
}

let inherited: Record<string, string> | undefined;

/** What this process carries for the owners above it: a child whose environment is chosen anew is theirs nevertheless. */
function inheritedTags(): Record<string, string> {
  inherited ??= Object.fromEntries(
    tagsIn(read('/proc/self/environ') ?? '').map((tag) => tag.split('=', 2) as [string, string]),
  );
  return inherited;
}

function tagsIn(environ: string): string[] {
  return environ.includes(PREFIX) ? environ.split('\0').filter((variable) => variable.startsWith(PREFIX)) : [];
}

/**
 * The dead owner of a process with this environment: one of those it is tagged with, of this boot and pid namespace, since
 * elsewhere a pid means nothing.
 */
export function deadOwnerOf(environ: string): ProcessIdentity | undefined {
  return tagsIn(environ).map(deadOwnerIn).find(Boolean);
}

/** The owner in the name of a variable or cgroup, if it is dead. */
export function deadOwnerIn(tag: string): ProcessIdentity | undefined {
  if (!tag.startsWith(PREFIX)) return undefined;
  const [bootId, pidNamespace, pid, startTicks] = tag.slice(PREFIX.length).split('_');
  const here = surroundings();
  if (bootId !== here.bootId.replaceAll('-', '') || pidNamespace !== here.pidNamespace) return undefined;
  const owner = { pid: Number(pid), startTicks: Number(startTicks) };
  return owner.startTicks > 0 && !isAlive(owner) ? owner : undefined;
}
