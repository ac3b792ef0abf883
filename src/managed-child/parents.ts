/**
 * Where there are neither `/proc` nor cgroups, what left its group is found by its parents, as long as those live: `tree-kill`
 * asks `pgrep` on macOS and has `taskkill` end the whole tree on Windows, where there is no request to end.
 */
export const hasParentsOnly = (): boolean => process.platform === 'darwin' || process.platform === 'win32';

/** Signals a process that lives and its descendants; resolves when that is done, whoever could be found. */
export async function signalDescendants(pid: number, signal: NodeJS.Signals): Promise<void> {
  const { default: treeKill } = await import('tree-kill');
  await new Promise<void>((resolve) => treeKill(pid, signal, () => resolve()));
}
