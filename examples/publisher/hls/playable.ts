import type { FanoutHub } from 'holdfast';
import type { Program } from '../../mpeg-ts/index.ts';
import { NotSegmentedError } from '../errors.ts';
import { Segmenter } from './segmenter.ts';

const H264 = 0x1b;
const AAC = 0x0f;
/** What is sound, or may be: MPEG, AAC in either form, AC-3, DTS, E-AC-3. */
const SOUND: readonly number[] = [0x03, 0x04, AAC, 0x11, 0x81, 0x82, 0x86, 0x87];

/** Browsers play MPEG-TS by way of their media source extensions, all of which have H.264 and AAC and few anything else. */
export function playsInBrowsers({ streams }: Program): boolean {
  const all = [...streams.values()];
  const sounds = all.filter(({ type }) => SOUND.includes(type));
  return all.every(({ isVideo, type }) => !isVideo || type === H264) && sounds.every(({ type }) => type === AAC);
}

/** What comes from a hub, which is kept open until it is disposed of. Rejects with what the hub fails by. */
export async function programOf(
  hub: FanoutHub,
  timeoutMs: number,
): Promise<{ readonly program: Program } & AsyncDisposable> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new NotSegmentedError(hub.name, NOTHING)), 2 * timeoutMs);
  const subscription = hub.subscribe({ onLag: 'skip', signal: late.signal });
  try {
    const program = await firstProgram(subscription);
    if (program) return { program, [Symbol.asyncDispose]: () => subscription[Symbol.asyncDispose]() };
    throw (await subscription.ended).error ?? new NotSegmentedError(hub.name, NOTHING);
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
