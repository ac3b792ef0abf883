import { writeSync } from 'node:fs';
import { redactCredentials } from '../internal/redact.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const CONTROL = /[\0-\x1f\x7f-\x9f]/g;

/** Control characters written out: a name from elsewhere can neither begin a line nor move the cursor. */
export function printable(text: string): string {
  return text.replace(CONTROL, (character) =>
    character === '\n' ? '\\n' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** One line to the operator, on stderr: stdout is the command's, or data. */
export function say(text: string): void {
  write(2, `holdfast: ${printable(redactCredentials(text))}\n`);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Data, on stdout. */
export function print(text: string): void {
  write(1, text);
}

export function printJson(value: unknown): void {
  print(`${JSON.stringify(value, null, 2)}\n`);
}

/** Columns, as wide as they need to be but for the last. */
export function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const lines = [header, ...rows].map((cells) => cells.map(printable));
  const widths = header.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  print(
    lines
      .map(
        (cells) =>
          `${cells
            .map((cell, column) => cell.padEnd(widths[column] ?? 0))
            .join('  ')
            .trimEnd()}\n`,
      )
      .join(''),
  );
}

/**
 * Not by `process.stdout` and `stderr`: for a pipe they make the open file non-blocking, also for the command that shares
 * it. Who reads may be gone, which ends nothing.
 */
function write(descriptor: number, text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5); // another made it non-blocking, and it is full
    }
  }
}
