import { isAlive, type ProcessIdentity, read, self, surroundings } from '../internal/proc.ts';

/** Every child carries it in its environment, and what it starts inherits it: whose it is, wherever it has gone. */
const TAG = 'HOLDFAST_CHILD';

/** The environment of a child of this process. */
export function tagged(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { bootId, pidNamespace } = surroundings();
  const { pid, startTicks } = self();
  return { ...env, [TAG]: [bootId, pidNamespace, pid, startTicks].join(':') };
}

/**
 * The owner that a process is tagged with; undefined for one that is not, or whose owner belongs to another boot or pid
 * namespace, where its pid means nothing, and for what this user may not read.
 */
export function ownerOf(pid: number): ProcessIdentity | undefined {
  const tag = read(`/proc/${pid}/environ`)
    ?.split('\0')
    .find((variable) => variable.startsWith(`${TAG}=`));
  const [bootId, pidNamespace, owner, startTicks] = tag?.slice(TAG.length + 1).split(':') ?? [];
  const here = surroundings();
  if (bootId !== here.bootId || pidNamespace !== here.pidNamespace) return undefined;
  return { pid: Number(owner), startTicks: Number(startTicks) };
}

/** Whether a dead owner left this process behind. */
export function isOrphan(pid: number): boolean {
  const owner = ownerOf(pid);
  return owner !== undefined && owner.startTicks > 0 && !isAlive(owner);
}
