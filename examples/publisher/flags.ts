import { parseArgs } from 'node:util';
import { redactCredentials } from 'holdfast';

/** The command line can't be understood, or the configuration is refused. Ends the program with exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export const HELP = `holdfast-publisher: reads live TV sources once and hands each to any number of viewers

usage: holdfast-publisher [flags]

  --device <ip|url>        publish every channel of an HDHomeRun; may be repeated
  --source <id>=<url>      publish one source: http(s) MPEG-TS, a file (in a loop), or what else ffmpeg reads without
                           further options and MPEG-TS can carry without transcoding; may be repeated. An id has up to
                           64 letters, digits, and . _ -; a relative path begins at the working directory
  --demo                   publish a simulated tuner; so without --device, --source and --config
  --port <number>          of the HTTP server, 0 for any free one (8080)
  --bind <address>         to listen on (127.0.0.1); 0.0.0.0 for every network of this host
  --advertise <url>        what the channel addresses in /api/public-streams begin with
  --lock-dir <path>        where the source locks of this host are (see SourceLock of holdfast)
  --close-after-ms <ms>    how long a source is kept after its last viewer (0)
  --start-timeout-ms <ms>  how long a source may take to its first byte (15000)
  --stall-timeout-ms <ms>  how long a live source may give nothing until it is opened anew (10000)
  --restart-cooldown-ms <ms>
                           the least time between two restarts of one channel (30000)
  --max-processes <count>  channels that are read at a time (32)
  --max-viewers <count>    viewers of one channel (10000)
  --log <pretty|json>      lines for people, or one JSON object per record (pretty)
  --config <file>          JSON with fields named like the flags: port, bind, device (a list), source (an object:
                           id to url, or to { "url", "name", "number" }), demo, advertise, lockDir, closeAfterMs,
                           startTimeoutMs, stallTimeoutMs, restartCooldownMs, maxProcesses, maxViewers, log. A flag wins over
                           a field; devices and sources are added
  --help, --version
`;

const string = { type: 'string' } as const;
const list = { type: 'string', multiple: true } as const;
const boolean = { type: 'boolean' } as const;

const OPTIONS = {
  port: string,
  bind: string,
  device: list,
  source: list,
  demo: boolean,
  advertise: string,
  'lock-dir': string,
  'close-after-ms': string,
  'start-timeout-ms': string,
  'stall-timeout-ms': string,
  'restart-cooldown-ms': string,
  'max-processes': string,
  'max-viewers': string,
  log: string,
  config: string,
  help: boolean,
  version: boolean,
} as const;

/** As given: numbers are still text, which the configuration's own check judges. */
export interface Flags {
  readonly [name: string]: string | boolean | readonly (string | boolean)[] | undefined;
}

/** @throws UsageError for a flag that does not exist, has no value, or for a word that is no flag. */
export function parseFlags(argv: readonly string[]): Flags {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    // What follows Node's first sentence explains how to escape a positional, which nobody here wants.
    const [message = ''] = (error as Error).message.split(/\.\s/);
    throw new UsageError(`${redactCredentials(message)}; --help lists the flags`);
  }
}
