import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { ChildExitError, ManagedChild } from 'holdfast';
import type { Playout } from './playout.ts';
import type { Recording } from './recording.ts';
import { RecordingLoop } from './recording-loop.ts';
import type { ProgramName } from './recording-tables.ts';

/** Where the bytes of one stream come from; disposing of it ends it. */
export interface Feed extends AsyncDisposable {
  readonly stream: Readable;
  /** Of its process, if it has one. */
  readonly pid: number | undefined;
  /** Resolves at its end with what to say if that came before the first byte. */
  readonly ended: Promise<Error>;
  /** Lets it come to its end as if it were complete. */
  end(): void;
}

export type OpenFeed = (signal: AbortSignal) => Promise<Feed>;

/** An ffmpeg of its own that writes to stdout. */
export function programFeed(program: string, args: readonly string[]): OpenFeed {
  return async (signal) => {
    const child = await ManagedChild.spawn(program, args, { signal, graceMs: 100 });
    return {
      stream: child.stdout as Readable,
      pid: child.pid,
      ended: child.exited.then((exit) => new ChildExitError(child.name, exit)),
      end: () => void child.terminate('the stream was ordered to end'),
      [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
    };
  };
}

const TICKS_PER_HOUR = 90_000 * 3600;

/** The recording in a loop, as a program of its own; it begins at another time at each opening. */
export function recordingFeed(
  recording: Recording,
  playout: Playout,
  program: ProgramName,
  durationMs?: number,
): OpenFeed {
  return async () => {
    const loop = new RecordingLoop(recording, program, randomInt(12 * TICKS_PER_HOUR));
    const stream = playout.open(loop, durationMs);
    return {
      stream,
      pid: undefined,
      ended: once(stream, 'close').then(() => new Error('the recording ended')),
      end: () => stream.finish(),
      [Symbol.asyncDispose]: async () => void stream.destroy(),
    };
  };
}
