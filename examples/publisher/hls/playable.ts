import type { ElementaryStream, Program } from '../../mpeg-ts/index.ts';
import type { Channel } from '../channel/channel.ts';
import { subscribeTo } from '../channel/subscribe-to.ts';
import type { Profile } from '../config/schema.ts';
import { NotSegmentedError } from '../errors.ts';
import { Segmenter } from './segmenter.ts';

const H264 = 0x1b;
const AAC = 0x0f;
const FLV_SOUND: readonly number[] = [0x03, 0x04, AAC];
const NAMES: Readonly<Record<number, string>> = {
  ...{ 1: 'MPEG-1 video', 2: 'MPEG-2 video', 36: 'HEVC', 17: 'AAC in LATM' },
  ...{ 129: 'AC-3', 130: 'DTS', 134: 'DTS', 135: 'E-AC-3' },
};
/** What is sound, or may be: MPEG, AAC in either form, AC-3, DTS, E-AC-3. */
const SOUND: readonly number[] = [0x03, 0x04, AAC, 0x11, 0x81, 0x82, 0x86, 0x87];

/** Browsers play MPEG-TS by way of their media source extensions, all of which have H.264 and AAC and few anything else. */
export function playsInBrowsers({ streams }: Program): boolean {
  const all = [...streams.values()];
  const sounds = all.filter(({ type }) => SOUND.includes(type));
  return all.every(({ isVideo, type }) => !isVideo || type === H264) && sounds.every(({ type }) => type === AAC);
}

/** Why FLV, and so RTMP, can't carry a program; undefined if it can. */
export function flvComplaint({ streams }: Program): string | undefined {
  const all = [...streams.values()];
  const isForeign = ({ type, isVideo }: ElementaryStream) =>
    isVideo ? type !== H264 : SOUND.includes(type) && !FLV_SOUND.includes(type);
  const foreign = all.filter(isForeign).map(({ type }) => NAMES[type] ?? `stream type 0x${type.toString(16)}`);
  return foreign.length === 0 ? undefined : `RTMP carries H.264 with AAC or MP3, and this is ${foreign.join(' with ')}`;
}

/** What a channel gives, which is kept open until this is disposed of. Rejects with what the channel fails by. */
export async function programOf(
  channel: Channel,
  profile: Profile,
  timeoutMs: number,
): Promise<{ readonly program: Program } & AsyncDisposable> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new NotSegmentedError(channel.entry.id, NOTHING)), 2 * timeoutMs);
  const subscription = subscribeTo(channel, profile, late.signal);
  try {
    const program = await firstProgram(subscription);
    if (program) return { program, [Symbol.asyncDispose]: () => subscription[Symbol.asyncDispose]() };
    throw (await subscription.ended).error ?? new NotSegmentedError(channel.entry.id, NOTHING);
  } finally {
    clearTimeout(timer);
  }
}

const NOTHING = 'it has no program with a key frame';

/** The iterator is not closed, so that the subscription goes on. */
async function firstProgram(slices: AsyncIterable<Buffer>): Promise<Program | undefined> {
  const segmenter = new Segmenter(1_000, () => {});
  const iterator = slices[Symbol.asyncIterator]();
  while (!segmenter.program) {
    const { value, done } = await iterator.next();
    if (done) break;
    segmenter.push(value);
  }
  return segmenter.program;
}
