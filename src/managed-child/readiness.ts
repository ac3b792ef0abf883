import type { Readable } from 'node:stream';
import type { ManagedChild } from './managed-child.ts';

/** When a child counts as ready, and how long it may take. */
export interface Readiness {
  /**
   * `stdout`: its first byte there. A RegExp: a match in the first 64 KiB of its stdout, or in the last 64 Ki characters
   * of its stderr. A function: its resolution.
   */
  readonly when: 'stdout' | RegExp | ((child: ManagedChild) => Promise<void>);
  /** Past this the tree is ended and `spawn` rejects `ReadyTimeoutError`. */
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
  return new Promise((resolve) => {
    if (!stdout) return;
    const onReadable = () => {
      if (stdout.readableLength === 0) return; // the end
      stop();
      resolve();
    };
    const stop = () => stdout.off('readable', onReadable);
    stdout.on('readable', onReadable);
    done.addEventListener('abort', stop, { once: true });
  });
}

/** How much of stderr is kept to match against; of stdout it is what the stream buffers, 64 KiB. */
const WINDOW_CHARACTERS = 64 * 1024;

/**
 * Matches stdout as it comes. It takes out what is buffered and puts it back in the same turn, so that the stream is as
 * untouched as before: it neither flows nor ends.
 */
function matchPeeking(stdout: Readable | null, pattern: RegExp, done: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (!stdout) return;
    let seenBytes = 0;
    const onReadable = () => {
      if (stdout.readableLength === seenBytes) return;
      // By its size: without one, Node 26 gives a single chunk.
      const seen: Buffer | null = stdout.read(stdout.readableLength);
      if (!seen) return;
      stdout.unshift(seen);
      seenBytes = seen.length;
      if (!matches(pattern, seen.toString('utf8'))) return;
      stop();
      resolve();
    };
    const stop = () => stdout.off('readable', onReadable);
    stdout.on('readable', onReadable);
    done.addEventListener('abort', stop, { once: true });
  });
}

function matchFlowing(stderr: Readable | null, pattern: RegExp, done: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let text = '';
    const onData = (chunk: Buffer) => {
      text = (text + chunk.toString('utf8')).slice(-WINDOW_CHARACTERS);
      if (!matches(pattern, text)) return;
      stderr?.off('data', onData);
      resolve();
    };
    stderr?.on('data', onData);
    done.addEventListener('abort', () => stderr?.off('data', onData), { once: true });
  });
}

/** A global or sticky pattern carries its position from call to call; the search here always starts at the front. */
function matches(pattern: RegExp, text: string): boolean {
  pattern.lastIndex = 0;
  return pattern.test(text);
}
