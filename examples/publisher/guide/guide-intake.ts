import {
  channelText,
  programmeText,
  readXmltv,
  TV_END,
  textOf,
  tvBegin,
  type XmltvChannel,
  type XmltvProgramme,
} from '../../xmltv/index.ts';
import { GuideError } from './errors.ts';
import type { GuideChannel } from './guide-match.ts';
import type { Span } from './guide-overlap.ts';
import { GuideSpans, LONGEST_MS } from './guide-spans.ts';
import { PackedText, plainBytes, unpacked } from './packed-text.ts';
import { whileWanted } from './wanted.ts';

/** What is over is kept for so long: players ask for what began a while ago. */
const KEPT_AFTER_END_MS = 6 * 3_600_000;
const MAX_CHANNELS = 20_000;
const MAX_PROGRAMMES = 2_000_000;

/** The document of one source, whole and checked. */
export interface KeptGuide {
  /** XMLTV. */
  readonly gzip: Buffer;
  readonly channels: readonly GuideChannel[];
  readonly programmes: number;
}

/**
 * Takes a document in: checks all of it, leaves out what is over, and adds what the one before knew of channels and times
 * that this one says nothing about. So a channel that is missing in a pull loses nothing but what is over.
 *
 * @throws XmltvError, GuideError, and what `bytes` throw; then `before` is as good as it was.
 */
export async function takeIn(
  bytes: AsyncIterable<Uint8Array>,
  before: KeptGuide | undefined,
  { nowMs, signal }: { readonly nowMs: number; readonly signal?: AbortSignal | undefined },
): Promise<KeptGuide> {
  using intake = new Intake(nowMs);
  for await (const items of readXmltv(plainBytes(bytes))) for (const item of items) await intake.add(item);
  intake.check();
  if (before) await intake.addWhatIsMissing(before, signal);
  return await intake.end();
}

/** A document that was kept. */
export async function keptGuide(gzip: Buffer, signal?: AbortSignal): Promise<KeptGuide> {
  const channels = new Map<string, GuideChannel>();
  let programmes = 0;
  for await (const items of whileWanted(readXmltv(unpacked(gzip)), signal)) {
    for (const item of items) {
      if (item.kind === 'channel') channels.set(item.id, guideChannel(item));
      else if (!channels.has(item.channel)) channels.set(item.channel, { id: item.channel, names: [] });
      if (item.kind === 'programme') programmes += 1;
    }
  }
  return { gzip, channels: [...channels.values()], programmes };
}

export function isOver({ startMs, stopMs = startMs + LONGEST_MS }: XmltvProgramme, nowMs: number): boolean {
  return stopMs < nowMs - KEPT_AFTER_END_MS;
}

class Intake implements Disposable {
  readonly #nowMs: number;
  readonly #channels = new Map<string, XmltvChannel>();
  readonly #packed = new PackedText();
  /** Of what was taken in, by its channels. */
  readonly #spans = new Map<string, Span[]>();
  #programmes = 0;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  async add(item: XmltvChannel | XmltvProgramme): Promise<void> {
    if (item.kind === 'programme') await this.#addProgramme(item);
    else if (!this.#channels.has(item.id)) this.#channels.set(item.id, item);
    if (this.#channels.size > MAX_CHANNELS) throw new GuideError(`it has more than ${MAX_CHANNELS} channels`);
    if (this.#programmes > MAX_PROGRAMMES) throw new GuideError(`it has more than ${MAX_PROGRAMMES} programmes`);
  }

  check(): void {
    if (this.#programmes === 0) throw new GuideError('it has no programme that is not over');
  }

  /** As much as there is room for: what is new is never given up for it. */
  async addWhatIsMissing({ gzip }: KeptGuide, signal: AbortSignal | undefined): Promise<void> {
    const known = new Map([...this.#spans].map(([channel, spans]) => [channel, new GuideSpans(spans)]));
    const leftOut = new Set<string>();
    for await (const items of whileWanted(readXmltv(unpacked(gzip)), signal)) {
      for (const item of items) {
        if (item.kind === 'channel') this.#addChannelIfItFits(item, leftOut);
        else if (this.#programmes >= MAX_PROGRAMMES) return;
        else if (!leftOut.has(item.channel) && !known.get(item.channel)?.overlaps(item)) await this.add(item);
      }
    }
  }

  /** The channels come first in a document, and are known last: each part is a gzip of its own, which together are one. */
  async end(): Promise<KeptGuide> {
    using first = new PackedText();
    const channels = [...this.#channels.values()].filter(({ id }) => this.#spans.has(id));
    await first.write(tvBegin());
    for (const channel of channels) await first.write(channelText(channel));
    await this.#packed.write(TV_END);
    const parts = [await first.end(), await this.#packed.end()];
    const unnamed = [...this.#spans.keys()].filter((id) => !this.#channels.has(id)).map((id) => ({ id, names: [] }));
    return {
      gzip: Buffer.concat(parts),
      channels: [...channels.map(guideChannel), ...unnamed],
      programmes: this.#programmes,
    };
  }

  [Symbol.dispose](): void {
    this.#packed[Symbol.dispose]();
  }

  #addChannelIfItFits(channel: XmltvChannel, leftOut: Set<string>): void {
    if (this.#channels.has(channel.id)) return;
    if (this.#channels.size < MAX_CHANNELS) this.#channels.set(channel.id, channel);
    else leftOut.add(channel.id);
  }

  async #addProgramme(programme: XmltvProgramme): Promise<void> {
    if (isOver(programme, this.#nowMs)) return;
    const text = programmeText(programme);
    if (text === '') return;
    this.#programmes += 1;
    const { channel, startMs, stopMs } = programme;
    const spans = this.#spans.get(channel);
    if (spans) spans.push({ startMs, stopMs });
    else this.#spans.set(channel, [{ startMs, stopMs }]);
    await this.#packed.write(text);
  }
}

export function guideChannel({ id, elements }: XmltvChannel): GuideChannel {
  return { id, names: elements.filter(({ name }) => name === 'display-name').map(textOf) };
}
