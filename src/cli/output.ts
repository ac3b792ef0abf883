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

/** One line to the operator, on stderr: stdout is the command's, or data. If that can't be written nobody can be told. */
export function say(text: string): void {
  try {
    write(2, `holdfast: ${printable(redactCredentials(text))}\n`);
  } catch {}
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Data, on stdout; throws if it can't be written, for half a table is no table. */
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
 * it. Who reads may be gone (`head`), which is no failure.
 */
function write(descriptor: number, text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE' || code === 'EBADF') return; // closed by who does not want it
      if (code !== 'EAGAIN') throw new Error(`can't write to ${descriptor === 1 ? 'stdout' : 'stderr'}: ${code}`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5); // another made it non-blocking, and it is full
    }
  }
}
