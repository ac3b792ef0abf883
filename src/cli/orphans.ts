import { ManagedChild } from '../managed-child/managed-child.ts';
import type { Orphan } from '../managed-child/orphans.ts';
import { parseOptions } from './arguments.ts';
import { EXIT } from './outcome.ts';
import { print, printJson, printTable, say } from './output.ts';

const HELP = `holdfast orphans [--kill] [--json]

What dead owners left running on this host, of what holdfast started and this user may see.

  --kill   ends it by SIGKILL; exit 1 if something could not be ended
  --json   a list of objects instead of a table
  --help
`;

const OPTIONS = {
  kill: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

export async function orphans(argv: readonly string[]): Promise<number> {
  const { kill = false, json, help } = parseOptions(argv, OPTIONS);
  if (help) {
    print(HELP);
    return 0;
  }
  const found = await ManagedChild.sweepOrphans({ kill });
  if (json) printJson(found);
  else if (found.length === 0) say('no orphans');
  else
    printTable(
      ['PID', 'OWNER', 'SINCE', 'STATE', 'COMMAND'],
      found.map((orphan) => row(orphan, kill)),
    );
  return kill && found.some(({ ended }) => !ended) ? EXIT.failed : 0;
}

function row({ pid, ownerPid, startedAt, ended, command }: Orphan, kill: boolean): string[] {
  const state = ended ? 'ended' : kill ? 'could not be ended' : 'running';
  return [String(pid), String(ownerPid), startedAt.toISOString(), state, command];
}
