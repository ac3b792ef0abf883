import { HoldfastError, type RestartRefusedError, redactCredentials } from 'holdfast';
import type { SwitchReason } from './channel/switches.ts';

type RestartRefusal = Pick<RestartRefusedError, 'why' | 'retryAfterMs'>;

/** A tuner is needed and none is free. Viewers are told so at once, and when to come again. */
export class NoTunerError extends HoldfastError {
  readonly code = 'PUBLISHER_NO_TUNER';
  override readonly retryable = true;
  override readonly retryAfterMs: number;
  /** What the device said, or would say, in `X-HDHomeRun-Error`. */
  readonly deviceError: string;

  constructor(channel: string, deviceError: string, retryAfterMs: number, cause: unknown) {
    super(`channel ${channel} can't be tuned: ${deviceError}`, { cause });
    this.deviceError = deviceError;
    this.retryAfterMs = retryAfterMs;
  }
}

/** As many channels are read, or opened at once, as this publisher may; it says nothing about the source. */
export class PublisherFullError extends HoldfastError {
  readonly code = 'PUBLISHER_FULL';
  override readonly retryable = true;
  override readonly retryAfterMs: number;

  constructor(why: string, retryAfterMs: number, cause: unknown) {
    super(`this publisher ${why}`, { cause });
    this.retryAfterMs = retryAfterMs;
  }
}

/** A live source gives what is no use, or nothing, and the channel goes on without it. */
export class SourceLostError extends HoldfastError {
  readonly code = 'PUBLISHER_SOURCE_LOST';
  override readonly retryable = true;
  readonly why: SwitchReason;

  constructor(url: string, { why, detail }: { readonly why: SwitchReason; readonly detail: string }) {
    super(`${redactCredentials(url)} is left: ${detail}`);
    this.why = why;
  }
}

/** A channel has several sources, and none can be read now; its cause is the error that tells most. */
export class SourcesFailedError extends HoldfastError {
  readonly code = 'PUBLISHER_SOURCES_FAILED';
  override readonly retryable = true;

  /** @param said what each source said, addresses included */
  constructor(channel: string, said: readonly string[], cause: unknown) {
    super(`none of the sources of channel ${channel} can be read: ${said.join('; ')}`, { cause });
  }
}

/** What ffmpeg writes is no MPEG-TS. */
export class NotMpegTsError extends HoldfastError {
  readonly code = 'PUBLISHER_NOT_MPEG_TS';

  constructor(command: string, begin: Buffer, stderrTail: string) {
    const tail = stderrTail.trim();
    super(
      `${command} did not write MPEG-TS but ${JSON.stringify(begin.subarray(0, 40).toString('latin1'))}` +
        (tail ? `; its last words:\n  ${tail.split('\n').slice(-8).join('\n  ')}` : '; it wrote nothing to stderr'),
    );
  }
}

/** MPEG-TS has no place for what the input holds, so that a copy of it is nothing that a player knows. */
export class CodecNotCarriedError extends HoldfastError {
  readonly code = 'PUBLISHER_CODEC_NOT_CARRIED';

  constructor(codecs: readonly string[]) {
    super(
      `MPEG-TS can't carry the codec ${codecs.join(', ')} of this source, of which profiles are made as well: ` +
        'have it transcoded first, to H.264 and AAC for instance',
    );
  }
}

/** What has the source can't be connected to. */
export class SourceUnreachableError extends HoldfastError {
  readonly code = 'PUBLISHER_SOURCE_UNREACHABLE';
  override readonly retryable = true;

  constructor(host: string, why: string, cause: unknown) {
    super(`${host} can't be reached: ${why}`, { cause });
  }
}

/** A source was connected to in vain, or gave no stream, for as long as it may. */
export class SourceLateError extends HoldfastError {
  readonly code = 'PUBLISHER_SOURCE_LATE';
  override readonly retryable = true;
  /** Whether it had answered, and only its stream did not come. */
  readonly isAnswered: boolean;

  constructor(url: string, timeoutMs: number, isAnswered: boolean) {
    const what = isAnswered ? 'answered, but gave no stream' : 'did not answer';
    super(`${redactCredentials(url)} ${what} within ${Math.round(timeoutMs)} ms (startTimeoutMs)`);
    this.isAnswered = isAnswered;
  }
}

/** What had to be found out before a source is opened took the time that there was for it; it was not tried. */
export class SourceUntriedError extends HoldfastError {
  readonly code = 'PUBLISHER_SOURCE_UNTRIED';
  override readonly retryable = true;

  constructor(url: string, startTimeoutMs: number) {
    super(
      `${redactCredentials(url)} was not opened: its name, its device and its locks took most of ` +
        `${Math.round(startTimeoutMs)} ms (startTimeoutMs); see whether the name server answers`,
    );
  }
}

const CLOSINGS = {
  ended: 'ended its stream',
  cut: 'cut the connection',
  stalled: 'stalled',
} as const;

/** A source that is read without a process is over. */
export class SourceClosedError extends HoldfastError {
  readonly code = 'PUBLISHER_SOURCE_CLOSED';
  override readonly retryable = true;
  readonly how: keyof typeof CLOSINGS;

  constructor(url: string, how: keyof typeof CLOSINGS, cause?: unknown, stallTimeoutMs?: number) {
    const reason = cause instanceof Error ? ` (${(cause as NodeJS.ErrnoException).code ?? cause.message})` : '';
    const silence = stallTimeoutMs === undefined ? '' : `: no byte for ${stallTimeoutMs} ms (stallTimeoutMs)`;
    super(`${url} ${CLOSINGS[how]}${reason}${silence}`, cause === undefined ? undefined : { cause });
    this.how = how;
  }
}

/** A source sends its readers on, and nowhere that can be read. */
export class RedirectError extends HoldfastError {
  readonly code = 'PUBLISHER_REDIRECT';

  constructor(url: string, where: string) {
    super(`${url} redirects ${where}; give the address of the stream itself`);
  }
}

/** A page or a document came where a stream was expected. */
export class NotAStreamError extends HoldfastError {
  readonly code = 'PUBLISHER_NOT_A_STREAM';

  constructor(url: string, begin: Buffer) {
    const excerpt = JSON.stringify(redactCredentials(begin.toString('utf8', 0, 80).trim()));
    super(`${url} answers with a document and no stream: ${excerpt}; open it in a browser to see what it wants`);
  }
}

/** The encoder that the operator named does not encode here. */
export class HardwareError extends HoldfastError {
  readonly code = 'PUBLISHER_HARDWARE';

  constructor(kind: string, why: string) {
    super(
      `--hardware ${kind} does not work here: ${why}; give this user access to its device and install its driver, ` +
        'or take auto or none',
    );
  }
}

/** An encoder takes a stream and gives none. */
export class EncoderStalledError extends HoldfastError {
  readonly code = 'PUBLISHER_ENCODER_STALLED';
  override readonly retryable = true;

  constructor(rendition: string, timeoutMs: number, stderrTail: string) {
    const tail = stderrTail.trim().split('\n').slice(-4).join('\n  ');
    const words = tail ? `; its last words:\n  ${tail}` : '';
    super(
      `ffmpeg of ${rendition} takes its input and has written nothing for ${timeoutMs} ms (stallTimeoutMs)${words}`,
    );
  }
}

/** An encoder was to start, and its channel gave nothing; its cause is what that failed with, or that it took too long. */
export class NothingToEncodeError extends HoldfastError {
  readonly code = 'PUBLISHER_NOTHING_TO_ENCODE';
  override readonly retryable = true;

  constructor(rendition: string, cause: unknown) {
    const why = cause instanceof Error ? ` (${cause.message})` : '';
    super(`there was nothing to encode for ${rendition}: its channel gave nothing${why}`, { cause });
  }
}

/** The tracks of a channel have changed twice in a moment. */
export class TracksUnsteadyError extends HoldfastError {
  readonly code = 'PUBLISHER_TRACKS_UNSTEADY';
  override readonly retryable = true;

  constructor(rendition: string, withinMs: number) {
    super(`the tracks of what is encoded for ${rendition} changed twice within ${withinMs} ms`);
  }
}

/** An encoder has failed, and is not started again now. */
export class EncoderHeldBackError extends HoldfastError {
  readonly code = 'PUBLISHER_ENCODER_HELD_BACK';
  override readonly retryable = true;
  override readonly retryAfterMs: number;

  constructor(rendition: string, { why, retryAfterMs }: RestartRefusal, cause?: unknown) {
    const seconds = Math.ceil(retryAfterMs / 1_000);
    super(
      `the encoder of ${rendition} is not started again for ${seconds} s (${why}); the stream as it comes can be watched`,
      cause === undefined ? undefined : { cause },
    );
    this.retryAfterMs = retryAfterMs;
  }
}

/** Publishers relay a channel in a circle, so that each waits for the other. */
export class RelayLoopError extends HoldfastError {
  readonly code = 'PUBLISHER_RELAY_LOOP';

  constructor(where: string) {
    super(
      `${where} is relayed in a circle: what reads it is, through other publishers, where it comes from; ` +
        'give one of them another source (--source, --peer, --device)',
    );
  }
}

/** The publisher can't start; the message says what to do. Ends the program with exit code 1. */
export class StartError extends HoldfastError {
  readonly code = 'PUBLISHER_START';
}

/** What a channel gives can't be cut into the segments of HLS. */
export class NotSegmentedError extends HoldfastError {
  readonly code = 'PUBLISHER_NOT_SEGMENTED';

  constructor(channel: string, why: string) {
    super(`no HLS can be made of channel ${channel}: ${why}; ask for its MPEG-TS, or for another profile`);
  }
}

/** A push ended. Without a cause: that could tell its address, which holds secrets. */
export class PushFailedError extends HoldfastError {
  readonly code = 'PUBLISHER_PUSH_FAILED';
  override readonly retryable = true;
  readonly push: string;

  constructor(push: string, why: string) {
    super(why);
    this.push = push;
  }
}
