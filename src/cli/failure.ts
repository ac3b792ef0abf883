import { UsageError } from './arguments.ts';
import { EXIT } from './outcome.ts';
import { messageOf, say } from './output.ts';

/** Tells why it failed, in a line, and returns the exit code; `command` is '' if it has not come to one. */
export function tell(error: unknown, command: string): number {
  if (error instanceof UsageError) {
    say(`${error.message}; see holdfast ${command && `${command} `}--help`);
    return EXIT.usage;
  }
  say(messageOf(error));
  return command === 'run' ? EXIT.holdfastFailed : EXIT.failed;
}
