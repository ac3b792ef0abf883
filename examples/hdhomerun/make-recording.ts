import type { Readable } from 'node:stream';
import { ChildExitError, ManagedChild } from 'holdfast';
import { findFfmpeg } from './ffmpeg.ts';
import { Recording } from './recording.ts';
import { recordedPictureArguments } from './test-picture.ts';

export interface RecordingOptions {
  /** @default found by `findFfmpeg` */
  readonly ffmpeg?: string | undefined;
  /** From 0.3 to 50, for pictures, sound and headers. @default 1 */
  readonly megabits?: number | undefined;
  /** @default 480 by 270 */
  readonly size?: { readonly width: number; readonly height: number } | undefined;
  /** In the picture. @default holdfast */
  readonly name?: string | undefined;
  /** Ends the ffmpeg. */
  readonly signal?: AbortSignal | undefined;
}

export interface SharedRecordingOptions extends RecordingOptions {
  readonly encoding?: 'per-stream' | 'shared' | undefined;
  readonly recording?: Buffer | undefined;
}

/** Eight seconds of a test picture as MPEG-TS whose begin can follow its end; takes about half a second. */
export async function makeRecording(options: RecordingOptions = {}): Promise<Buffer> {
  const {
    ffmpeg = findFfmpeg(),
    megabits = 1,
    size = { width: 480, height: 270 },
    name = 'holdfast',
    signal,
  } = options;
  if (!(megabits >= 0.3 && megabits <= 50)) {
    throw new RangeError(`megabits must be from 0.3 to 50, received ${megabits}`);
  }
  const args = recordedPictureArguments({ name, toneHz: 440, ...size }, megabits);
  await using child = await ManagedChild.spawn(ffmpeg, args, { signal });
  const chunks: Buffer[] = await (child.stdout as Readable).toArray();
  const exit = await child.exited;
  if (exit.code !== 0) throw new ChildExitError(child.name, exit);
  return Buffer.concat(chunks);
}

/** What all streams of a simulator send, if they share it: what is given, or what is made. */
export async function sharedRecording(options: SharedRecordingOptions): Promise<Recording | undefined> {
  const { recording, encoding = recording ? 'shared' : 'per-stream' } = options;
  return encoding === 'shared' ? new Recording(recording ?? (await makeRecording(options))) : undefined;
}
