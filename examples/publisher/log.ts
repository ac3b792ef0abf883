import { redactCredentials } from 'holdfast';
import { type Logger, pino } from 'pino';
import type { EventLog } from './events.ts';
import { printable } from './printable.ts';

export type { Logger } from 'pino';

export type LogFormat = 'pretty' | 'json';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * Writes to stdout: lines for people, or one JSON object per record. No credential passes, in either.
 *
 * @param events keeps what is said as well
 */
export function createLog(format: LogFormat, events?: EventLog): Logger {
  const write = (line: string) => process.stdout.write(line);
  const show = format === 'json' ? write : (line: string) => write(forPeople(JSON.parse(line)));
  return pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      // Errors are plain by then; pino's own serializer would call them objects without a stack.
      serializers: { err: (error: unknown) => error },
      formatters: { level: (level) => ({ level }) },
      hooks: {
        logMethod(args, method) {
          method.apply(this, args.map(redacted) as typeof args);
        },
      },
    },
    {
      write: (line) => {
        show(line);
        events?.add(JSON.parse(line));
      },
    },
  );
}

/** Redacts every text in a value. It is done before the record is made: in finished JSON it could break the quoting. */
function redacted(value: unknown): unknown {
  if (typeof value === 'string') return redactCredentials(value);
  if (value instanceof Error) return plainError(value);
  if (Array.isArray(value)) return value.map(redacted);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, redacted(entry)]));
}

function plainError(error: Error & { readonly code?: unknown }): object {
  const { name, message, code } = error;
  return { name, message: redactCredentials(message), ...(code !== undefined && { code }) };
}

interface LogRecord {
  readonly time: string;
  readonly level: string;
  readonly msg?: string;
}

/** The sentence says it all; the other fields are for programs. */
function forPeople({ time, level, msg = '' }: LogRecord): string {
  const clock = new Date(time).toLocaleTimeString('en-GB');
  return `${clock} ${level === 'info' ? '' : `${level.toUpperCase()} `}${printable(msg)}\n`;
}
