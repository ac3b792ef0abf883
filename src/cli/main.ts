#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { complaintAboutNode } from './node-version.ts';

const HELP = `holdfast: one holder for each source, and nothing left running

  holdfast run --source <url|path> -- <command> [argument …]
                     runs the command while it holds the lock of the source
  holdfast locks     who holds which source
  holdfast orphans   what dead owners left running; --kill ends it
  holdfast doctor    whether this system has what holdfast needs

  holdfast <command> --help, holdfast --version
`;

/** Loaded only when wanted, and when this Node can load them. */
const COMMANDS = {
  run: async () => (await import('./run.ts')).run,
  locks: async () => (await import('./locks.ts')).locks,
  orphans: async () => (await import('./orphans.ts')).orphans,
  doctor: async () => (await import('./doctor.ts')).doctor,
} as const;

async function main([name = '', ...rest]: readonly string[]): Promise<void> {
  const complaint = complaintAboutNode(process.versions.node);
  if (complaint !== undefined) throw new Error(complaint);
  const [{ print }, { endAs }, { UsageError }] = await Promise.all([
    import('./output.ts'),
    import('./outcome.ts'),
    import('./arguments.ts'),
  ]);
  if (name === '--help' || name === '-h' || name === 'help') return print(HELP);
  if (name === '--version') return print(`${version()}\n`);
  if (!Object.hasOwn(COMMANDS, name))
    throw new UsageError(name ? `there is no command ${name}` : 'no command is given');
  const command = await COMMANDS[name as keyof typeof COMMANDS]();
  await endAs(await command(rest));
}

function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const name = process.argv[2] ?? '';
  process.exitCode = (await import('./failure.ts')).tell(error, Object.hasOwn(COMMANDS, name) ? name : '');
}
