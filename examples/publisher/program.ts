import { redactCredentials } from 'holdfast';
import { Publisher } from './app.ts';
import { type Config, type Loaded, load } from './config/config.ts';
import { type Flags, HELP, parseFlags, UsageError } from './config/flags.ts';
import { checkHost } from './config/host-check.ts';
import { unknownVariables } from './config/layer.ts';
import { variableOf } from './config/options.ts';
import { printedConfig, printedOrigins, printedSchema } from './config/print.ts';
import { EventLog } from './events.ts';
import { LifeCycle } from './life-cycle.ts';
import { createLog, type Logger, type LogSettings } from './log.ts';
import { printable } from './printable.ts';
import { PushTarget } from './push/push-target.ts';
import { version } from './version.ts';

/** Runs the command line to its end, or until a signal. */
export async function run(argv: readonly string[]): Promise<void> {
  outliveItsReaders();
  try {
    await main(argv);
  } catch (error) {
    // Of several complaints each has a line.
    process.stderr.write(`holdfast-publisher: ${linesOf(error).join('\n')}\n`);
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
    const env = takeEnvironment();
    const loaded = load(flags, env);
    if (flags['print-config']) printConfig(loaded);
    else if (flags.check) await check(loaded);
    else await serve(loaded, flags, env);
  }
}

/** What it is where programs read it, and where it is from beside it. */
function printConfig(loaded: Loaded): void {
  process.stdout.write(printedConfig(loaded.config));
  process.stderr.write(printedOrigins(loaded));
}

async function check({ config }: Loaded): Promise<void> {
  const { complaints, warnings } = await checkHost(config);
  for (const warning of warnings) process.stdout.write(`warning: ${printable(warning)}\n`);
  if (complaints.length > 0) throw new UsageError(complaints.join('\n'));
  process.stdout.write('the configuration can be run\n');
}

/** Children get no variable that is an option: a token or the address of a push is none of their business. */
function takeEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const name of Object.keys(env)) if (name.startsWith(variableOf(''))) delete process.env[name];
  return env;
}

async function serve({ config }: Loaded, flags: Flags, env: NodeJS.ProcessEnv): Promise<void> {
  hidePushes(config.push);
  const events = new EventLog();
  const settings: LogSettings = { level: config.logLevel };
  const log = createLog(config.log, events, settings);
  tellTheUncaught(log);
  for (const name of unknownVariables(env)) log.warn(`${name} is no option, and not heeded; --help lists them`);
  const starting = Publisher.start(config, log, events);
  new LifeCycle(starting, (publisher) => reload({ publisher, flags, env, log, settings }), log);
  await starting;
}

/** Who holds a lock is told with its arguments; those of a push may have a secret that nobody knows for one by itself. */
function hidePushes(pushes: Config['push']): void {
  const targets = Object.values(pushes).map(({ url }) => new PushTarget(url));
  const scrubbed = process.argv.slice(2).map((text) => targets.reduce((rest, target) => target.scrub(rest), text));
  process.argv.splice(2, scrubbed.length, ...scrubbed);
}

interface Reloaded {
  readonly publisher: Publisher;
  readonly flags: Flags;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  readonly settings: LogSettings;
}

/** All of the new configuration, or nothing of it if it can't be read. */
async function reload({ publisher, flags, env, log, settings }: Reloaded): Promise<void> {
  const config = readAgain({ flags, env, log });
  if (!config) return;
  try {
    await publisher.reload(config);
  } catch (error) {
    log.error(`reload: not all of it could be applied: ${linesOf(error).join('\n  ')}`);
  }
  settings.level = config.logLevel;
}

function readAgain({ flags, env, log }: Pick<Reloaded, 'flags' | 'env' | 'log'>): Config | undefined {
  try {
    return load(flags, env).config;
  } catch (error) {
    const why = linesOf(error).join('\n  ');
    log.error(`SIGHUP: the configuration is refused, and what runs goes on as it is:\n  ${why}`);
    return undefined;
  }
}

/** What nobody caught ends the program; it is told as all else is, without credentials. */
function tellTheUncaught(log: Logger): void {
  process.on('uncaughtException', (error: unknown) => {
    const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
    log.fatal(`nobody caught this: ${told.replaceAll(/\n\s*/g, '\n  ')}`);
    process.exit(1);
  });
}

function linesOf(error: unknown): string[] {
  const message = error instanceof Error ? error.message : String(error);
  return redactCredentials(message).split('\n').map(printable);
}
