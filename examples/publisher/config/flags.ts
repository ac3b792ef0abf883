import { type ParseArgsConfig, parseArgs } from 'node:util';
import { redactCredentials } from 'holdfast';
import { flagOf, OPTIONS } from './options.ts';

/** The command line can't be understood, or the configuration is refused. Ends the program with exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

const COLUMN = 27;
const WIDTH = 118;

export const HELP: string = `holdfast-publisher: reads live TV sources once and hands each to any number of viewers

usage: holdfast-publisher [flags]

${Object.entries(OPTIONS)
  .map(([option, { value, help }]) => explain([flagOf(option), value].filter(Boolean).join(' '), help))
  .join(
    '',
  )}${explain('--config <file>', 'JSON with fields named like the flags (closeAfterMs for --close-after-ms); lists and objects of both are joined, else a flag wins over a field')}  --help, --version
`;

/** As given: numbers are still text, which the configuration's own check judges. */
export interface Flags {
  readonly [name: string]: string | boolean | readonly (string | boolean)[] | undefined;
}

/** @throws UsageError for a flag that does not exist, has no value, or for a word that is no flag. */
export function parseFlags(argv: readonly string[]): Flags {
  try {
    return parseArgs({ args: [...argv], options: FORMS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    // What follows Node's first sentence explains how to escape a positional, which nobody here wants.
    const [message = ''] = (error as Error).message.split(/\.\s/);
    throw new UsageError(`${redactCredentials(message)}; --help lists the flags`);
  }
}

/** Options of which there may be several. */
const REPEATED: readonly string[] = ['device', 'source', 'peer', 'channel', 'guide', 'push'];

const FORMS: NonNullable<ParseArgsConfig['options']> = {
  ...Object.fromEntries(
    Object.entries(OPTIONS).map(([option, { value }]) => [flagOf(option).slice(2), formOf(option, value)]),
  ),
  config: { type: 'string' },
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
