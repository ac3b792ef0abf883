import type { Readable } from 'node:stream';
import type { ChildExit, ManagedChild, ProcessLease, SourceHandle } from 'holdfast';
import type { EncoderFeed } from './encoder-feed.ts';
import { isToldToEnd } from './told-to-end.ts';

/** An ffmpeg that encodes, as the supervisor and as the hub see it. */
export interface Encoding extends AsyncDisposable {
  /** That its channel is over, or that somebody outside ended it, is no failure of the encoder. */
  readonly closed: Promise<{ readonly reason: string }>;
  readonly handle: SourceHandle;
}

export function encodingOf(lease: ProcessLease<ManagedChild>, feed: EncoderFeed): Encoding {
  const { name, stdout, exited } = lease.child;
  const dispose = () => lease[Symbol.asyncDispose]();
  const closed = lease.child.closed.then((exit): { readonly reason: string } => {
    if (feed.isOver) return { reason: 'aborted' };
    return isToldToEnd(exit) ? { reason: 'terminated' } : exit;
  });
  const handle = { name, stdout: stdout as Readable, closed, exited, [Symbol.asyncDispose]: dispose };
  return { handle, closed, [Symbol.asyncDispose]: dispose };
}

/** Whether it is the encoder that gave up: what was killed, or told to end, tells nothing of it. */
export function hasFailed(exit: ChildExit): boolean {
  return exit.reason === 'exited' && exit.code !== null && exit.code !== 0 && !isToldToEnd(exit);
}
