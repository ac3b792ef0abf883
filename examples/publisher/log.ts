import { redactCredentials } from 'holdfast';
import { type Logger, pino } from 'pino';
import type { EventLog } from './events.ts';
import { printable } from './printable.ts';
import { Repeats } from './repeats.ts';

export type { Logger } from 'pino';

export type LogFormat = 'pretty' | 'json';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What may change while it logs. */
export interface LogSettings {
  /** The least that is written. */
  level: LogLevel;
}

const ORDER: readonly string[] = ['debug', 'info', 'warn', 'error', 'fatal'];

/**
 * Writes to stdout: lines for people, or one JSON object per record. No credential passes, in either, and no line goes
 * on and on.
 *
 * @param events keeps what is said as well, whatever is written
 */
export function createLog(format: LogFormat, events?: EventLog, settings: LogSettings = { level: 'info' }): Logger {
  const output = new Output(format, settings, events);
  return pino(
    {
      base: null,
      // What is less than what is wanted goes no further than the output: children of a log keep the level they began with.
      level: 'debug',
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
    output,
  );
}

class Output {
  readonly #show: (line: string) => void;
  readonly #settings: LogSettings;
  readonly #events: EventLog | undefined;
  readonly #repeats = new Repeats();
  #summary: NodeJS.Timeout | undefined;

  constructor(format: LogFormat, settings: LogSettings, events: EventLog | undefined) {
    const write = (line: string) => void process.stdout.write(line);
    this.#show = format === 'json' ? write : (line) => write(forPeople(JSON.parse(line)));
    this.#settings = settings;
    this.#events = events;
  }

  write(line: string): void {
    const record: LogRecord = JSON.parse(line);
    const { time: _, ...rest } = record;
    const { show, hidden } = this.#repeats.admit(JSON.stringify(rest), performance.now());
    if (hidden > 0) this.#tell(record, hidden);
    if (show) this.#pass(record, line);
    else this.#summary ??= setTimeout(() => this.#summarize(), SUMMARY_MS).unref();
  }

  #pass(record: LogRecord, line: string): void {
    if (ORDER.indexOf(record.level) >= ORDER.indexOf(this.#settings.level)) this.#show(line);
    this.#events?.add(record);
  }

  #summarize(): void {
    this.#summary = undefined;
    const time = new Date().toISOString();
    for (const { line, hidden } of this.#repeats.over(performance.now()))
      this.#tell({ ...JSON.parse(line), time }, hidden);
  }

  #tell(record: LogRecord, repeated: number): void {
    const told = { ...record, msg: `${record.msg ?? ''} (${repeated} times more, not shown)`, repeated };
    this.#pass(told, `${JSON.stringify(told)}\n`);
  }
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

/** When what was hidden is told: after a stretch of time in which a line may be shown only so often. */
const SUMMARY_MS = 10_100;

/** The sentence says it all; the other fields are for programs. */
function forPeople({ time, level, msg = '' }: LogRecord): string {
  const clock = new Date(time).toLocaleTimeString('en-GB');
  return `${clock} ${level === 'info' ? '' : `${level.toUpperCase()} `}${printable(msg)}\n`;
}
