import type { readdirSync, readFileSync } from 'node:fs';
import type { parseStat } from '../internal/proc.ts';

/** What a reader reads with; the undertaker brings its own. */
export interface ReaderTools {
  readonly readFileSync: typeof readFileSync;
  readonly readdirSync: typeof readdirSync;
  readonly parseStat: typeof parseStat;
}

/** What of `/proc` can't be seen, or is no more, is undefined. */
export interface ProcReader {
  /** Empty for a process without memory of its own: a kernel thread, a zombie, one that changes its program. */
  read(path: string): string | undefined;
  /** The names in a folder that are numbers, the highest first. */
  numbersIn(path: string): number[];
  statOf(pid: number): ReturnType<typeof parseStat>;
  /** Of its other threads, if the main one has ended. */
  environOf(pid: number): string | undefined;
}

/** Self-contained, without any outer name: the undertaker runs its text. */
export function procReader({ readFileSync, readdirSync, parseStat }: ReaderTools): ProcReader {
  const read = (path: string) => {
    try {
      return readFileSync(path, 'latin1');
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ESRCH' ? '' : undefined;
    }
  };
  const numbersIn = (path: string) => {
    try {
      return readdirSync(path).map(Number).filter(Number.isInteger).reverse();
    } catch {
      return [];
    }
  };
  const statOf = (pid: number) => parseStat(pid, read(`/proc/${pid}/stat`));
  const environOf = (pid: number) => {
    const environ = read(`/proc/${pid}/environ`);
    const stat = environ === '' ? statOf(pid) : undefined;
    if (stat?.state !== 'Z' || stat.hasEnded) return environ;
    const environs = numbersIn(`/proc/${pid}/task`).map((thread) => read(`/proc/${pid}/task/${thread}/environ`));
    return environs.find(Boolean) ?? environ;
  };
  return { read, numbersIn, statOf, environOf };
}
