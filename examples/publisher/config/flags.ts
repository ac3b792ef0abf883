import { type ParseArgsConfig, parseArgs } from 'node:util';
import { redactCredentials } from 'holdfast';
import { didYouMean } from './nearest.ts';
import { flagOf, LISTS, OBJECTS, OPTIONS } from './options.ts';

/** The command line can't be understood, or the configuration is refused. Ends the program with exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

const COLUMN = 27;
const WIDTH = 118;

const COMMANDS = {
  check: 'check the configuration and this host, and end: with exit code 0 if it can be run, else 2',
  'print-config': 'print the configuration as it would be run, without its secrets, and end',
  'print-schema': 'print the JSON Schema of the configuration file, and end',
} as const;

const CONFIG_HELP =
  'JSON with fields named like the flags (closeAfterMs for --close-after-ms). Every option can be given by a variable, ' +
  'too (HOLDFAST_PUBLISHER_CLOSE_AFTER_MS). A flag wins over a variable, a variable over a field; lists and objects of ' +
  'all are joined. SIGHUP has it read again';

export const HELP: string = `holdfast-publisher: reads live TV sources once and hands each to any number of viewers

usage: holdfast-publisher [flags]

${[
  ...Object.entries(OPTIONS).map(([option, { value, help }]) => [withValue(flagOf(option), value), help] as const),
  ['--config <file>', CONFIG_HELP] as const,
  ...Object.entries(COMMANDS).map(([name, help]) => [`--${name}`, help] as const),
]
  .map(([flag, help]) => explain(flag, help))
  .join('')}  --help, --version
`;

function withValue(flag: string, value: string | undefined): string {
  return value === undefined ? flag : `${flag} ${value}`;
}

/** As given: numbers are still text, which the configuration's own check judges. */
export interface Flags {
  readonly [name: string]: string | boolean | readonly (string | boolean)[] | undefined;
}

/** @throws UsageError for a flag that does not exist, has no value, or for a word that is no flag. */
export function parseFlags(argv: readonly string[]): Flags {
  try {
    const options = { options: FORMS, strict: true, allowPositionals: false, allowNegative: true } as const;
    return parseArgs({ args: [...argv], ...options }).values;
  } catch (error) {
    // What follows Node's first sentence explains how to escape a positional, which nobody here wants.
    const [message = ''] = (error as Error).message.split(/\.\s/);
    const [, unknown] = /^Unknown option '--(?:no-)?([^']+)'/.exec(message) ?? [];
    const meant =
      unknown === undefined
        ? ''
        : didYouMean(
            `--${unknown}`,
            Object.keys(FORMS).map((flag) => `--${flag}`),
          );
    throw new UsageError(`${redactCredentials(message)}; ${meant}--help lists the flags`);
  }
}

/** Options of which there may be several. */
const REPEATED: readonly string[] = [...LISTS, ...OBJECTS];

const FORMS: NonNullable<ParseArgsConfig['options']> = {
  ...Object.fromEntries(
    Object.entries(OPTIONS).map(([option, { value }]) => [flagOf(option).slice(2), formOf(option, value)]),
  ),
  config: { type: 'string' },
  ...Object.fromEntries(Object.keys(COMMANDS).map((name) => [name, { type: 'boolean' }])),
  help: { type: 'boolean' },
  version: { type: 'boolean' },
};

function formOf(option: string, value: string | undefined): { type: 'string' | 'boolean'; multiple?: boolean } {
  return value === undefined ? { type: 'boolean' } : { type: 'string', multiple: REPEATED.includes(option) };
}

/** The flag, and what it means beside it, or below where it is long. */
function explain(flag: string, help: string): string {
  const lines = [''];
  for (const word of help.split(' ')) {
    const line = lines.at(-1) as string;
    if (line !== '' && COLUMN + line.length + 1 + word.length > WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  const indent = ' '.repeat(COLUMN);
  const first = `  ${flag}`.padEnd(COLUMN);
  const begin = first.length > COLUMN || !first.endsWith(' ') ? `${first}\n${indent}` : first;
  return `${begin}${lines.join(`\n${indent}`)}\n`;
}
