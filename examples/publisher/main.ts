#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { redactCredentials } from 'holdfast';
import { Publisher } from './app.ts';
import { loadConfig } from './config.ts';
import { HELP, parseFlags, UsageError } from './flags.ts';
import { createLog, type Logger } from './log.ts';

/** Past this an orderly end is given up; what is left ends with this process. */
const STOP_LIMIT_MS = 5_000;

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`holdfast-publisher: ${redactCredentials(messageOf(error))}\n`);
  process.exit(error instanceof UsageError ? 2 : 1);
}

async function main(argv: readonly string[]): Promise<void> {
  const flags = parseFlags(argv);
  if (flags.help) process.stdout.write(HELP);
  else if (flags.version) process.stdout.write(`${version()}\n`);
  else {
    const config = loadConfig(flags);
    const log = createLog(config.log);
    const starting = Publisher.start(config, log);
    stopOnSignals(starting, log);
    await starting;
  }
}

/** The first signal ends everything in order, the second at once: the children end with this process either way. */
function stopOnSignals(starting: Promise<Publisher>, log: Logger): void {
  let signals = 0;
  const stop = async (signal: NodeJS.Signals) => {
    if (++signals > 1) process.exit(1);
    log.info(`${signal}: stopping`);
    setTimeout(() => process.exit(1), STOP_LIMIT_MS).unref();
    await (await starting).close();
    log.info('stopped');
    process.exit(0);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
}

function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
