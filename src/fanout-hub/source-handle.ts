import type { Readable } from 'node:stream';
import { type ChildExit, ChildExitError } from '../errors.ts';
import { preHandled } from '../internal/abort.ts';
import type { SourceHandle } from './options.ts';

/** What `source` returned, with a plain stream dressed as a handle. */
export function handleOf(result: Readable | SourceHandle): SourceHandle {
  if (isReadable(result)) return streamHandle(result);
  if (!isHandle(result)) {
    throw new TypeError('source must return a Readable, or an object with stdout, closed and Symbol.asyncDispose');
  }
  preHandled(result.closed);
  return result;
}

/** The bytes of a handle; a child without a pipe for its stdout has none. */
export function stdoutOf(handle: SourceHandle): Readable {
  if (handle.stdout) return handle.stdout;
  throw new TypeError('source returned a handle whose stdout is null; it must be a pipe');
}

/** Destroys a stream and waits until its descriptor is closed, if it will say so. */
export function destroyed(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    if (willSayThatItCloses(stream)) stream.once('close', resolve);
    else resolve();
    stream.destroy();
  });
}

/** Not if it was made with `emitClose: false`; one of `readable-stream` 3 only once, and one of 2 never. */
function willSayThatItCloses(
  stream: Readable & { readonly _readableState?: { readonly emitClose?: boolean } },
): boolean {
  const { emitClose } = stream._readableState ?? {};
  // Before version 4 they had no `closed`.
  return typeof stream.closed === 'boolean'
    ? !stream.closed && emitClose !== false
    : !stream.destroyed && emitClose === true;
}

/** Why a source that ended by itself is a failure, if it is one. */
export function failureOf(name: string, handle: SourceHandle, exit: unknown, hasBytes: boolean): unknown {
  if (!isChildExit(exit)) return undefined;
  const isClean = exit.code === 0 && exit.reason === 'exited';
  return isClean && hasBytes ? undefined : new ChildExitError(commandOf(handle) ?? `the source of ${name}`, exit);
}

function commandOf(handle: SourceHandle): string | undefined {
  return 'name' in handle && typeof handle.name === 'string' ? handle.name : undefined;
}

/** It has nothing but its stdout, which is destroyed in any case. */
function streamHandle(stream: Readable): SourceHandle {
  return { stdout: stream, closed: Promise.resolve(), [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** By shape, so that streams of the `readable-stream` package pass. */
function isReadable(result: Readable | SourceHandle): result is Readable {
  return typeof (result as Readable | undefined)?.pipe === 'function' && typeof (result as Readable).on === 'function';
}

function isHandle(result: SourceHandle | undefined): boolean {
  return typeof result?.closed?.then === 'function' && typeof result[Symbol.asyncDispose] === 'function';
}

function isChildExit(value: unknown): value is ChildExit {
  const { code, reason, stderrTail, durationMs } = (value ?? {}) as Partial<ChildExit>;
  const hasCode = code === null || typeof code === 'number';
  return hasCode && typeof reason === 'string' && typeof stderrTail === 'string' && typeof durationMs === 'number';
}
