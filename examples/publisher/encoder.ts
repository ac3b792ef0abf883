import type { Readable } from 'node:stream';
import { ManagedChild, type SourceLock } from 'holdfast';
import { type EncoderInput, encoderArguments } from './encoder-arguments.ts';
import { NotMpegTsError } from './errors.ts';

/** A tuner must be free within a quarter of a second, and ffmpeg has nothing to finish. */
const GRACE_MS = 100;
const SYNC_BYTE = 0x47;

export interface EncoderTerms {
  readonly signal: AbortSignal;
  /** Held until ffmpeg is gone, even if this process is killed. */
  readonly holds: SourceLock;
  readonly startTimeoutMs: number;
}

/**
 * Starts ffmpeg; resolves when MPEG-TS comes out of it. What is no MPEG-TS must not reach a player as if it were: that is
 * a `NotMpegTsError`.
 */
export async function startEncoder(ffmpeg: string, input: EncoderInput, terms: EncoderTerms): Promise<ManagedChild> {
  const { startTimeoutMs: timeoutMs, ...options } = terms;
  let rubbish: { readonly child: ManagedChild; readonly begin: Buffer } | undefined;
  const when = async (child: ManagedChild): Promise<void> => {
    const begin = await peek(child.stdout as Readable);
    if (begin[0] === SYNC_BYTE) return;
    rubbish = { child, begin };
    throw new Error('no MPEG-TS');
  };
  try {
    return await ManagedChild.spawn(ffmpeg, encoderArguments(input), {
      ...options,
      graceMs: GRACE_MS,
      ready: { when, timeoutMs },
    });
  } catch (error) {
    // Now that it is gone, all that it wrote to stderr is here.
    throw rubbish ? new NotMpegTsError(ffmpeg, rubbish.begin, rubbish.child.stderrTail()) : error;
  }
}

/** The first bytes, put back. Pending for ever if none come: the child's end or the time limit is waited for as well. */
function peek(stdout: Readable): Promise<Buffer> {
  return new Promise((resolve) => {
    const onReadable = () => {
      const begin: Buffer | null = stdout.read();
      if (!begin) return;
      stdout.off('readable', onReadable);
      stdout.unshift(begin);
      resolve(begin);
    };
    stdout.on('readable', onReadable);
  });
}
