import { UsageError } from './arguments.ts';
import { EXIT } from './outcome.ts';
import { say } from './output.ts';

/** Tells why it failed, in a line, and returns the exit code. */
export function tell(error: unknown, command: string | undefined): number {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof UsageError) {
    say(`${message}; see holdfast ${HELPFUL.has(command) ? `${command} ` : ''}--help`);
    return EXIT.usage;
  }
  say(message);
  return command === 'run' ? EXIT.holdfastFailed : EXIT.failed;
}

const HELPFUL: ReadonlySet<string | undefined> = new Set(['run', 'locks', 'orphans', 'doctor']);
