import { HoldfastError } from 'holdfast';

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
      `MPEG-TS can't carry the codec ${codecs.join(', ')} of this source, and nothing is transcoded here: ` +
        'have it transcoded first, to H.264 and AAC for instance',
    );
  }
}

/** The publisher can't start; the message says what to do. Ends the program with exit code 1. */
export class StartError extends HoldfastError {
  readonly code = 'PUBLISHER_START';
}
