import { type ParseArgsConfig, parseArgs } from 'node:util';
import { show } from '../internal/options.ts';
import { redactCredentials } from '../internal/redact.ts';

/** The command line can't be understood; the message names the option and the value. */
export class UsageError extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<O extends Options> = ReturnType<typeof parseArgs<{ options: O; strict: true }>>['values'];

/** The values of options, as they are given. */
export function parseOptions<const O extends Options>(argv: readonly string[], options: O): Values<O> {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values as Values<O>;
  } catch (error) {
    // What follows Node's first sentence explains how to escape a positional, which nobody here wants.
    const [message = ''] = (error as Error).message.split(/\.\s|\n/);
    const hint = /ambiguous$/.test(message) ? ': a value that begins with a dash is given as --option=-value' : '';
    throw new UsageError(redactCredentials(message) + hint);
  }
}

/** What was given must not be empty: an unset variable of a shell script would else mean something. */
export function checkGiven(option: string, text: string | undefined): void {
  if (text === '') throw new UsageError(`${option} must not be empty`);
}

const UNITS = { ms: 1, s: 1_000, m: 60_000 } as const;

/** Milliseconds of `500ms`, `10s` or `1.5m`. */
export function parseDuration(option: string, text: string, maxMs: number): number {
  const [, amount, unit] = /^(\d{1,15}(?:\.\d{1,6})?)(ms|s|m)$/.exec(text) ?? [];
  if (unit === undefined) {
    const lack = /^\d+(\.\d+)?$/.test(text) ? 'needs a unit' : 'must be a duration';
    throw new UsageError(`${option} ${lack}, as in 500ms, 10s or 2m; received ${show(text)}`);
  }
  const ms = Math.round(Number(amount) * UNITS[unit as keyof typeof UNITS]);
  if (ms <= maxMs) return ms;
  throw new UsageError(`${option} must be at most ${Math.floor(maxMs / UNITS.m)}m, received ${show(text)}`);
}

/** One of a few words. */
export function parseWord<const T extends string>(option: string, text: string, allowed: readonly T[]): T {
  if (allowed.includes(text as T)) return text as T;
  throw new UsageError(`${option} must be ${allowed.join(', ')}; received ${show(text)}`);
}
