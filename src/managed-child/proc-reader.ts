import type { readdirSync, readFileSync } from 'node:fs';
import type { parseStat } from '../internal/proc.ts';

/** What a reader reads with; other programs bring their own. */
export interface ReaderTools {
  readonly readFileSync: typeof readFileSync;
  readonly readdirSync: typeof readdirSync;
  readonly parseStat: typeof parseStat;
}

/**
 * What of `/proc` is no more, or may not be seen, is undefined. What can't be read for want of descriptors or memory is an error: to
 * find nothing then would mean nothing.
 */
export interface ProcReader {
  /** Empty for a process without memory of its own: a kernel thread, a zombie, one that changes its program. */
  read(path: string): string | undefined;
  /** The names in a folder that are numbers, the highest first. */
  numbersIn(path: string): number[];
  statOf(pid: number): ReturnType<typeof parseStat>;
  /** Of its other threads, if the main one has ended. */
  environOf(pid: number): string | undefined;
}

/** Self-contained, without any outer name: other programs run its text. */
export function procReader({ readFileSync, readdirSync, parseStat }: ReaderTools): ProcReader {
  const WANTING = ['EMFILE', 'ENFILE', 'ENOMEM'];
  const codeOf = (error: unknown) => {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (WANTING.includes(code)) throw error;
    return code;
  };
  const read = (path: string) => {
    try {
      return readFileSync(path, 'latin1');
    } catch (error) {
      return codeOf(error) === 'ESRCH' ? '' : undefined;
    }
  };
  const numbersIn = (path: string) => {
    try {
      return readdirSync(path)
        .map(Number)
        .filter(Number.isInteger)
        .sort((a, b) => b - a);
    } catch (error) {
      codeOf(error);
      return [];
    }
  };
  const statOf = (pid: number) => parseStat(pid, read(`/proc/${pid}/stat`));
  const environOf = (pid: number) => {
    const environ = read(`/proc/${pid}/environ`);
    // It is empty then, or root's.
    const stat = environ ? undefined : statOf(pid);
    if (stat?.state !== 'Z' || stat.hasEnded) return environ;
    const environs = numbersIn(`/proc/${pid}/task`).map((thread) => read(`/proc/${pid}/task/${thread}/environ`));
    return environs.find(Boolean) ?? environ;
  };
  return { read, numbersIn, statOf, environOf };
}
