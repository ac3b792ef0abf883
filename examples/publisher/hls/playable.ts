import type { ElementaryStream, Program } from '../../mpeg-ts/index.ts';
import type { Channel } from '../channel/channel.ts';
import type { Profile } from '../config/schema.ts';
import { NotSegmentedError } from '../errors.ts';
import { Segmenter } from './segmenter.ts';

/** Browsers play MPEG-TS by way of their media source extensions, all of which have H.264 and AAC and few anything else. */
const OF_BROWSERS: readonly string[] = ['H.264', 'AAC'];
const OF_FLV: readonly string[] = [...OF_BROWSERS, 'MPEG audio'];

export function playsInBrowsers(program: Program): boolean {
  return foreignTo(OF_BROWSERS, program).length === 0;
}

/** Why FLV, and so RTMP, can't carry a program; undefined if it can. */
export function flvComplaint(program: Program): string | undefined {
  const foreign = foreignTo(OF_FLV, program).map(({ type, codec }) => codec ?? `stream type 0x${type.toString(16)}`);
  return foreign.length === 0 ? undefined : `RTMP carries H.264 with AAC or MP3, and this is ${foreign.join(' with ')}`;
}

/** Pictures and sound in other codecs; data is left out by who plays it. */
function foreignTo(codecs: readonly string[], { streams }: Program): ElementaryStream[] {
  return [...streams.values()].filter(
    ({ codec, isVideo, isSound }) => (isVideo || isSound) && !codecs.includes(codec ?? ''),
  );
}

/**
 * What a channel gives, which is kept open until this is disposed of. Rejects with what the channel fails by, or with
 * `signal.reason`.
 */
export async function programOf(
  channel: Channel,
  profile: Profile,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<{ readonly program: Program } & AsyncDisposable> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new NotSegmentedError(channel.entry.id, NOTHING)), 2 * timeoutMs);
  channel.askAtOnce();
  const subscription = channel.feed(AbortSignal.any([late.signal, signal]), profile);
  try {
    const program = await firstProgram(subscription);
    signal.throwIfAborted();
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
