/**
 * What happened in a storm, by all its processes in one file. A line is written before what it tells of can be seen by
 * others (`releasing`), or after it was (`acquired`), and the clock is one for the whole host: so a judge can tell
 * afterwards when a process surely held a source, and when it possibly did.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

/** An attempt to lock a source, in the words of its process: `<number of the process>.<number of the attempt>`. */
export type AttemptId = string;

/** Whom a refusal or a warning names. Its command is the id of the attempt by which it got the lock, if it told it. */
export interface Named {
  readonly pid: number;
  readonly command: string;
  readonly orphanOf?: number | undefined;
  readonly verified: string;
}

export type Happening =
  /** Of a process, by its number; `killing`, `stopping` and `continued` are what was done to it. */
  | { readonly what: 'started'; readonly process: number; readonly pid: number }
  | { readonly what: 'killing' | 'dead' | 'stopping' | 'continued'; readonly process: number }
  /** Of an attempt. */
  | { readonly what: 'calling'; readonly id: AttemptId; readonly key: string; readonly timeoutMs: number }
  | { readonly what: 'acquired'; readonly id: AttemptId; readonly fence: string }
  | { readonly what: 'warned'; readonly id: AttemptId; readonly of: Named }
  | { readonly what: 'double'; readonly id: AttemptId; readonly by: string }
  | { readonly what: 'tying' | 'blocking' | 'unblocked' | 'releasing' | 'released'; readonly id: AttemptId }
  | { readonly what: 'tied'; readonly id: AttemptId; readonly child: number }
  | { readonly what: 'refused'; readonly id: AttemptId; readonly holder: Named | undefined }
  | { readonly what: 'failed'; readonly id: AttemptId; readonly error: string };

export type Entry = Happening & { /** Milliseconds of the host's monotonic clock. */ readonly at: number };

export class Journal implements Disposable {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'a');
  }

  /** Synchronous, and one write: what is told is told, even if the process is killed in the next instant. */
  tell(happening: Happening): void {
    const at = Number(process.hrtime.bigint()) / 1e6;
    // The line feed is in front: a line cut short by SIGKILL spoils no other.
    writeSync(this.#file, `\n${JSON.stringify({ at, ...happening })}`);
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}

export function readJournal(path: string): Entry[] {
  return readFileSync(path, 'utf8').split('\n').flatMap(parse);
}

function parse(line: string): Entry[] {
  try {
    return line === '' ? [] : [JSON.parse(line)];
  } catch {
    return []; // the last words of one that was killed
  }
}
