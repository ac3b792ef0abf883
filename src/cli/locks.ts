import type { LockHolder } from '../errors.ts';
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
  else show(await SourceLock.list({ dir }), json);
  return 0;
}

function show(holders: readonly LockHolder[], asJson = false): void {
  if (asJson) printJson(holders);
  else if (holders.length === 0) say('no lock is held');
  else printTable(['KEY', 'PID', 'SINCE', 'VERIFIED', 'TREE', 'COMMAND'], holders.map(row));
}

function row({ key, path, pid, startedAt, verified, command, ...holder }: LockHolder): string[] {
  return [key || path, String(pid), startedAt, verified, tree(holder), command];
}

function tree({ children, orphanOf }: Pick<LockHolder, 'children' | 'orphanOf'>): string {
  if (orphanOf !== undefined) return `orphan of ${orphanOf}`;
  return children ? `with ${children.join(',')}` : '-';
}
