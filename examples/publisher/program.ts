import { redactCredentials } from 'holdfast';
import { Publisher } from './app.ts';
import { load } from './config/config.ts';
import { HELP, parseFlags, UsageError } from './config/flags.ts';
import { printedConfig, printedOrigins, printedSchema } from './config/print.ts';
import { EventLog } from './events.ts';
import { createLog, type Logger } from './log.ts';
import { printable } from './printable.ts';
import { version } from './version.ts';

/** Past this an orderly end is given up; what is left ends with this process. */
const STOP_LIMIT_MS = 5_000;
/** Nobody presses Ctrl-C again because of what happened in so little time. */
const SAME_SIGNAL_MS = 250;

/** Runs the command line to its end, or until a signal. */
export async function run(argv: readonly string[]): Promise<void> {
  outliveItsReaders();
  try {
    await main(argv);
  } catch (error) {
    // Of several complaints each has a line.
    const lines = redactCredentials(messageOf(error)).split('\n').map(printable);
    process.stderr.write(`holdfast-publisher: ${lines.join('\n')}\n`);
    process.exit(error instanceof UsageError ? 2 : 1);
  }
}

/** Who reads the log may go, as `head` does; the viewers stay. */
function outliveItsReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
}

async function main(argv: readonly string[]): Promise<void> {
  const flags = parseFlags(argv);
  if (flags.help) process.stdout.write(HELP);
  else if (flags.version) process.stdout.write(`${version()}\n`);
  else if (flags['print-schema']) process.stdout.write(printedSchema());
  else {
    const loaded = load(flags, process.env);
    const { config } = loaded;
    if (flags['print-config']) {
      process.stdout.write(printedConfig(config));
      process.stderr.write(printedOrigins(loaded));
      return;
    }
    const events = new EventLog();
    const log = createLog(config.log, events);
    const starting = Publisher.start(config, log, events);
    stopOnSignals(starting, log);
    await starting;
  }
}

/**
 * The first signal ends everything in order, the second at once: the children end with this process either way. One
 * Ctrl-C comes twice to a program that npm runs, from the terminal and from npm.
 */
function stopOnSignals(starting: Promise<Publisher>, log: Logger): void {
  let firstAt: number | undefined;
  const stop = async (signal: NodeJS.Signals) => {
    if (firstAt !== undefined) {
      if (performance.now() - firstAt > SAME_SIGNAL_MS) process.exit(1);
      return;
    }
    firstAt = performance.now();
    log.info(`${signal}: stopping`);
    setTimeout(() => process.exit(1), STOP_LIMIT_MS).unref();
    await (await starting).close();
    log.info('stopped');
    process.exit(0);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
