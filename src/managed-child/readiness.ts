import type { Readable } from 'node:stream';
import type { ManagedChild } from './managed-child.ts';

/** When a child counts as ready, and how long it may take. */
export interface Readiness {
  /**
   * `stdout`: its first byte there. A RegExp: a match in the first 64 KiB of its stdout, or in the last 64 Ki characters
   * of its stderr. A function: its resolution.
   */
  readonly when: 'stdout' | RegExp | ((child: ManagedChild) => Promise<void>);
  /** Past this the tree is ended and `spawn` rejects `ReadyTimeoutError`; at least 1, above 2^31 - 1 never. */
  readonly timeoutMs: number;
}

/** Resolves when the child is ready; what it waits on is dropped when `done` aborts. Consumes nothing of stdout. */
export function untilReady(child: ManagedChild, when: Readiness['when'], done: AbortSignal): Promise<void> {
  if (when === 'stdout') return firstByte(child.stdout, done);
  if (when instanceof RegExp) {
    return Promise.race([matchPeeking(child.stdout, when, done), matchFlowing(child.stderr, when, done)]);
  }
  return when(child);
}

function firstByte(stdout: Readable | null, done: AbortSignal): Promise<void> {
  return untilSeen(stdout, 'readable', done, (stream) => stream.readableLength > 0); // 0 at the end
}

/** How much of stderr is kept to match against; of stdout it is what the stream buffers, 64 KiB. */
const WINDOW_CHARACTERS = 64 * 1024;

/**
 * Matches stdout as it comes. It takes out what is buffered and puts it back in the same turn, so that the stream is as
 * untouched as before: it neither flows nor ends.
 */
function matchPeeking(stdout: Readable | null, pattern: RegExp, done: AbortSignal): Promise<void> {
  let seenBytes = 0;
  return untilSeen(stdout, 'readable', done, (stream) => {
    if (stream.readableLength === seenBytes) return false;
    // By its size: without one, Node 26 gives a single chunk.
    const seen: Buffer | null = stream.read(stream.readableLength);
    if (!seen) return false;
    stream.unshift(seen);
    seenBytes = seen.length;
    return matches(pattern, seen.toString('utf8'));
  });
}

function matchFlowing(stderr: Readable | null, pattern: RegExp, done: AbortSignal): Promise<void> {
  let text = '';
  return untilSeen(stderr, 'data', done, (_, chunk) => {
    text = (text + chunk.toString('utf8')).slice(-WINDOW_CHARACTERS);
    return matches(pattern, text);
  });
}

/** Resolves at the first event for which `isSeen` holds, and listens no longer; nor when `done` aborts. */
function untilSeen(
  stream: Readable | null,
  event: 'readable' | 'data',
  done: AbortSignal,
  isSeen: (stream: Readable, chunk: Buffer) => boolean,
): Promise<void> {
  return new Promise((resolve) => {
    if (!stream) return;
    const stop = () => stream.off(event, listener);
    const listener = (chunk: Buffer) => {
      if (!isSeen(stream, chunk)) return;
      stop();
      resolve();
    };
    stream.on(event, listener);
    done.addEventListener('abort', stop, { once: true });
  });
}

/** A global or sticky pattern carries its position from call to call; the search here always starts at the front. */
function matches(pattern: RegExp, text: string): boolean {
  pattern.lastIndex = 0;
  return pattern.test(text);
}
