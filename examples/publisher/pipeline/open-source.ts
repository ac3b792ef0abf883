import type { Readable } from 'node:stream';
import type { ManagedChild, ProcessLease, ProcessPool, SourceLock, SpawnContext } from 'holdfast';
import type { Source } from '../directory/directory.ts';
import { startEncoder } from './encoder.ts';
import { encoderArguments } from './encoder-arguments.ts';
import { fullPoolErrorOr } from './full-pool.ts';
import { openPassThrough } from './pass-through.ts';

/** How a source ended: `aborted` and `terminated` by us; for any other reason there may be an error that tells more. */
export interface SourceEnd {
  readonly reason: string;
  readonly error?: unknown;
}

/** A source that gives MPEG-TS. Its disposal closes it. */
export interface OpenSource extends AsyncDisposable {
  /** Fails with what broke the source; a `ManagedChild` ends it, and tells by its exit. */
  readonly stdout: Readable;
  /** Resolves when nothing of it is left: its tuner is free then. Never rejects. */
  readonly closed: Promise<SourceEnd>;
  /** The tuner in use, as its device calls it: `tuner0`. */
  readonly resource?: string;
}

export interface SourceTerms {
  /** Closes it, whether it is open yet or not. */
  readonly signal: AbortSignal;
  /** Held for as long as it is read; its loss closes it. */
  readonly holds: SourceLock;
  /** Of ffmpeg; what is read without a process takes no place in it. */
  readonly pool: ProcessPool;
  readonly key: string;
  readonly startTimeoutMs: number;
  /** It is closed when it has given nothing for so long. */
  readonly stallTimeoutMs: number;
  /** The ffmpeg to run; throws an error that says how to get one. Not called for what needs none. */
  readonly ffmpeg: () => string;
  /** Of the request, if it is one. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** What ffmpeg has of the time to start: its own time-out tells more than that of the pool. */
const ENCODER_SHARE = 0.95;

/**
 * Opens a source; resolves when MPEG-TS comes out of it. An http(s) URL that answers with MPEG-TS is read by this process,
 * everything else by ffmpeg. Rejects with an error that `failureOf` knows, or with `signal.reason`; nothing is open then.
 */
export async function openSource({ url }: Source, name: string, terms: SourceTerms): Promise<OpenSource> {
  const deadline = performance.now() + terms.startTimeoutMs;
  const passed = mayPassThrough(url) ? await openPassThrough(url, terms) : undefined;
  const startTimeoutMs = Math.max(1, deadline - performance.now());
  return passed ?? (await openEncoder({ url, name }, { ...terms, startTimeoutMs }));
}

/** Whether it may be read without a process; its server's answer decides. */
export function mayPassThrough(url: string): boolean {
  return /^https?:/i.test(url);
}

async function openEncoder(input: { url: string; name: string }, terms: SourceTerms): Promise<OpenSource> {
  const { pool, key, signal, holds, startTimeoutMs: timeoutMs, stallTimeoutMs } = terms;
  const ffmpeg = terms.ffmpeg();
  const deadline = performance.now() + timeoutMs;
  const spawn = ({ signal }: SpawnContext) => {
    const startTimeoutMs = ENCODER_SHARE * Math.max(1, deadline - performance.now());
    return startEncoder(ffmpeg, encoderArguments(input), { holds, startTimeoutMs, stallTimeoutMs, signal });
  };
  try {
    return sourceOf(await pool.acquire(spawn, { key, signal, timeoutMs }));
  } catch (error) {
    throw fullPoolErrorOr(error, pool);
  }
}

/** As the child itself, whose disposal gives its place in the pool back too. */
function sourceOf(lease: ProcessLease<ManagedChild>): OpenSource {
  const { name, stdout, closed, exited } = lease.child;
  const source = { name, stdout: stdout as Readable, closed, exited };
  return { ...source, [Symbol.asyncDispose]: () => lease[Symbol.asyncDispose]() };
}
