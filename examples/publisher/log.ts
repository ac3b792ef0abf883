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

/** So much of what nobody reads is kept. */
const MAX_UNREAD_BYTES = 1_048_576;

class Output {
  readonly #format: LogFormat;
  readonly #settings: LogSettings;
  readonly #events: EventLog | undefined;
  readonly #repeats = new Repeats();
  #summary: NodeJS.Timeout | undefined;
  /** Lines that were not written since nobody reads. */
  #dropped = 0;

  constructor(format: LogFormat, settings: LogSettings, events: EventLog | undefined) {
    this.#format = format;
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

  /** Tells what was hidden so far: it is asked for at the end. */
  flush(done?: () => void): void {
    this.#summarize(Number.POSITIVE_INFINITY);
    done?.();
  }

  /** A reader that stands still costs its lines, and no more memory than so much. */
  #show(line: string): void {
    const { stdout } = process;
    if (stdout.writableLength < MAX_UNREAD_BYTES) {
      stdout.write(this.#format === 'json' ? line : forPeople(JSON.parse(line)));
      return;
    }
    if (this.#dropped === 0) stdout.once('drain', () => this.#tellDropped());
    this.#dropped += 1;
  }

  #tellDropped(): void {
    const msg = `${this.#dropped} lines of the log were left out: nobody read them`;
    this.#dropped = 0;
    const record = { level: 'warn', time: new Date().toISOString(), msg };
    this.#pass(record, `${JSON.stringify(record)}\n`);
  }

  #pass(record: LogRecord, line: string): void {
    if (ORDER.indexOf(record.level) >= ORDER.indexOf(this.#settings.level)) this.#show(line);
    this.#events?.add(record);
  }

  #summarize(now = performance.now()): void {
    clearTimeout(this.#summary);
    this.#summary = undefined;
    const time = new Date().toISOString();
    for (const { line, hidden } of this.#repeats.over(now)) this.#tell({ ...JSON.parse(line), time }, hidden);
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
