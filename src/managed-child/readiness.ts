import type { Readable } from 'node:stream';
import type { ManagedChild } from './managed-child.ts';

/** When a child counts as ready, and how long it may take. */
export interface Readiness {
  /** `stdout`: its first byte there. A RegExp: a match in what it wrote to stdout or stderr. A function: its resolution. */
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

/** What is kept to match against; also the most of stdout that is held back before a child must match or wait. */
const WINDOW_BYTES = 1024 * 1024;

/**
 * Matches stdout as it comes and puts all of it back. It reads on 'readable', not on 'data': when the listener is
 * removed the stream is as untouched as before, neither flowing nor paused.
 */
function matchPeeking(stdout: Readable | null, pattern: RegExp, done: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (!stdout) return;
    const seen: Buffer[] = [];
    let bytes = 0;
    const onReadable = () => {
      while (bytes < WINDOW_BYTES) {
        const chunk: Buffer | null = stdout.read();
        if (!chunk) break;
        seen.push(chunk);
        bytes += chunk.length;
      }
      if (!matches(pattern, Buffer.concat(seen).toString('utf8'))) return;
      stop();
      resolve();
    };
    const stop = () => {
      stdout.off('readable', onReadable);
      if (bytes > 0 && !stdout.readableEnded) stdout.unshift(Buffer.concat(seen));
      seen.length = bytes = 0;
    };
    stdout.on('readable', onReadable);
    done.addEventListener('abort', stop, { once: true });
  });
}

function matchFlowing(stderr: Readable | null, pattern: RegExp, done: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let text = '';
    const onData = (chunk: Buffer) => {
      text = (text + chunk.toString('utf8')).slice(-WINDOW_BYTES);
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
