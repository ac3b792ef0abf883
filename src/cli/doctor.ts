import { checkGiven, parseOptions } from './arguments.ts';
import type { Check } from './check.ts';
import { lockChecks } from './lock-checks.ts';
import { EXIT } from './outcome.ts';
import { print, printable, printJson } from './output.ts';
import { systemChecks } from './system-checks.ts';

const HELP = `holdfast doctor [--dir <path>] [--json]

Whether this system has what holdfast needs. Each check is ok, degraded (it works, but for what is said) or broken; exit 1
if one is broken. It leaves nothing behind.

  --dir <path>   the lock directory ($HOLDFAST_LOCK_DIR, else /run/holdfast/locks)
  --json         an object instead of lines
  --help
`;

const OPTIONS = {
  dir: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

export async function doctor(argv: readonly string[]): Promise<number> {
  const { dir, json, help } = parseOptions(argv, OPTIONS);
  checkGiven('--dir', dir);
  if (help) {
    print(HELP);
    return 0;
  }
  const checks = [...(await systemChecks()), ...(await lockChecks(dir))];
  const state = worstOf(checks);
  if (json) printJson({ state, checks });
  else print(checks.map(line).join(''));
  return state === 'broken' ? EXIT.failed : 0;
}

function worstOf(checks: readonly Check[]): Check['state'] {
  return (['broken', 'degraded'] as const).find((bad) => checks.some(({ state }) => state === bad)) ?? 'ok';
}

function line({ name, state, found, advice }: Check): string {
  const text = `${state.padEnd(8)}  ${name.padEnd(14)}  ${printable(found)}\n`;
  return advice === undefined ? text : `${text}${' '.repeat(26)}→ ${printable(advice)}\n`;
}
