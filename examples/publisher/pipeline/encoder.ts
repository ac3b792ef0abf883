import type { Readable } from 'node:stream';
import { ManagedChild, type SourceLock } from 'holdfast';
import { SYNC_BYTE } from '../../mpeg-ts/index.ts';
import { CodecNotCarriedError, NotMpegTsError } from '../errors.ts';

/** A tuner must be free within a quarter of a second, and ffmpeg has nothing to finish. */
const GRACE_MS = 100;
/** ffmpeg writes what MPEG-TS has no type for as private data, which no player knows, and says so before its first byte. */
const PRIVATE_DATA = /codec (\S+), is muxed as a private data stream/g;

export interface EncoderTerms {
  readonly signal: AbortSignal;
  /** Held until ffmpeg is gone, even if this process is killed. */
  readonly holds?: SourceLock | undefined;
  readonly startTimeoutMs: number;
  /** It is ended when it has written nothing for so long. */
  readonly stallTimeoutMs?: number | undefined;
  /** Writes to its stdin, from before its first byte on; rejects when it can't go on. @default it has none */
  readonly feed?: ((child: ManagedChild) => Promise<never>) | undefined;
}

/**
 * Starts ffmpeg; resolves when MPEG-TS comes out of it. What no player could play must not reach one as if it could: that
 * is a `NotMpegTsError`, or a `CodecNotCarriedError`.
 */
export async function startEncoder(ffmpeg: string, args: string[], terms: EncoderTerms): Promise<ManagedChild> {
  const { startTimeoutMs: timeoutMs, feed, holds, ...options } = terms;
  let unplayable: (() => unknown) | undefined;
  const when = async (child: ManagedChild): Promise<void> => {
    const broken = feed?.(child).catch((error) => {
      unplayable = () => error;
      throw error;
    });
    const begun = peek(child.stdout as Readable);
    const begin = await (broken ? Promise.race([begun, broken]) : begun);
    const codecs = codecsNotCarried(child.stderrTail());
    if (begin[0] !== SYNC_BYTE) unplayable = () => new NotMpegTsError(ffmpeg, begin, child.stderrTail());
    else if (codecs.length > 0) unplayable = () => new CodecNotCarriedError(codecs);
    if (unplayable) throw new Error('not playable');
  };
  try {
    return await ManagedChild.spawn(ffmpeg, args, {
      ...options,
      ...(holds && { holds }),
      stdin: feed ? 'pipe' : 'ignore',
      graceMs: GRACE_MS,
      ready: { when, timeoutMs },
    });
  } catch (error) {
    // Now that it is gone, all that it wrote to stderr is here.
    throw unplayable?.() ?? error;
  }
}

function codecsNotCarried(stderr: string): string[] {
  return [...new Set(Array.from(stderr.matchAll(PRIVATE_DATA), ([, codec]) => codec as string))];
}

/**
 * The first bytes, put back. Pending for ever if none come: the child's end or the time limit is waited for as well. What
 * was written to stderr before them has been read by then too.
 */
function peek(stdout: Readable): Promise<Buffer> {
  return new Promise((resolve) => {
    const onReadable = () => {
      const begin: Buffer | null = stdout.read();
      if (!begin) return;
      stdout.off('readable', onReadable);
      stdout.unshift(begin);
      // Both pipes are polled together; after that turn all that was there is read.
      setImmediate(resolve, begin);
    };
    stdout.on('readable', onReadable);
  });
}
