import { existsSync } from 'node:fs';
import type { LockHolder } from '../errors.ts';
import { lockDirectory } from '../source-lock/directory.ts';
import { SourceLock } from '../source-lock/source-lock.ts';
import { checkGiven, parseOptions } from './arguments.ts';
import { print, printJson, printTable, say } from './output.ts';

const HELP = `holdfast locks [--dir <path>] [--json]

Who holds which source: all locks of a directory that are held now. Only looks.

  --dir <path>   the lock directory ($HOLDFAST_LOCK_DIR, else /run/holdfast/locks)
  --json         a list of objects instead of a table
  --help
`;

const OPTIONS = {
  dir: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

export async function locks(argv: readonly string[]): Promise<number> {
  const { dir, json, help } = parseOptions(argv, OPTIONS);
  checkGiven('--dir', dir);
  if (help) print(HELP);
  else show(await SourceLock.list({ dir }), { json, dir });
  return 0;
}

interface View {
  readonly json: boolean | undefined;
  readonly dir: string | undefined;
}

function show(holders: readonly LockHolder[], { json, dir }: View): void {
  if (json) printJson(holders);
  else if (holders.length === 0) say(`no lock is held in ${described(lockDirectory(dir, 'look').path)}`);
  else printTable(['KEY', 'PID', 'SINCE', 'VERIFIED', 'TREE', 'COMMAND'], holders.map(row));
}

function described(path: string): string {
  return existsSync(path) ? path : `${path}, which does not exist`;
}

function row({ key, path, pid, startedAt, verified, command, ...holder }: LockHolder): string[] {
  return [key || path, String(pid), startedAt, verified, tree(holder), command];
}

function tree({ children, orphanOf }: Pick<LockHolder, 'children' | 'orphanOf'>): string {
  if (orphanOf !== undefined) return `orphan of ${orphanOf}`;
  return children ? `with ${children.join(',')}` : '-';
}
