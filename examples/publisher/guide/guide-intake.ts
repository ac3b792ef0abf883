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
import { PackedText, plainBytes, unpacked } from './packed-text.ts';

/** What is over is kept for so long: players ask for what began a while ago. */
const KEPT_AFTER_END_MS = 6 * 3_600_000;
/** What has no end is over when this is. */
const LONGEST_MS = 12 * 3_600_000;
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
  nowMs: number,
): Promise<KeptGuide> {
  const intake = new Intake(nowMs);
  try {
    for await (const items of readXmltv(plainBytes(bytes))) for (const item of items) await intake.add(item);
    intake.check();
    if (before) await intake.addWhatIsMissing(before);
    return await intake.end();
  } finally {
    intake.discard();
  }
}

/** A document that was kept. */
export async function keptGuide(gzip: Buffer): Promise<KeptGuide> {
  const channels = new Map<string, GuideChannel>();
  let programmes = 0;
  for await (const items of readXmltv(unpacked(gzip))) {
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

interface Range {
  fromMs: number;
  toMs: number;
}

class Intake {
  readonly #nowMs: number;
  readonly #channels = new Map<string, XmltvChannel>();
  readonly #packed = new PackedText();
  /** What the document speaks about, by its channels. */
  readonly #ranges = new Map<string, Range>();
  #programmes = 0;
  #isEnded = false;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  async add(item: XmltvChannel | XmltvProgramme): Promise<void> {
    if (item.kind === 'channel') this.#addChannel(item);
    else if (!isOver(item, this.#nowMs)) await this.#addProgramme(item);
  }

  check(): void {
    if (this.#programmes === 0) throw new GuideError('it has no programme that is not over');
  }

  async addWhatIsMissing({ gzip }: KeptGuide): Promise<void> {
    const known = new Map([...this.#ranges].map(([channel, range]) => [channel, { ...range }]));
    for await (const items of readXmltv(unpacked(gzip))) {
      for (const item of items) {
        if (item.kind === 'channel' ? !this.#channels.has(item.id) : !isWithin(item, known)) await this.add(item);
      }
    }
  }

  /** The channels come first in a document, and are known last: each part is a gzip of its own, which together are one. */
  async end(): Promise<KeptGuide> {
    const first = new PackedText();
    const channels = [...this.#channels.values()].filter(({ id }) => this.#ranges.has(id));
    await first.write(tvBegin());
    for (const channel of channels) await first.write(channelText(channel));
    await this.#packed.write(TV_END);
    const parts = [await first.end(), await this.#packed.end()];
    this.#isEnded = true;
    const unnamed = [...this.#ranges.keys()].filter((id) => !this.#channels.has(id)).map((id) => ({ id, names: [] }));
    return {
      gzip: Buffer.concat(parts),
      channels: [...channels.map(guideChannel), ...unnamed],
      programmes: this.#programmes,
    };
  }

  discard(): void {
    if (!this.#isEnded) this.#packed.discard();
  }

  #addChannel(channel: XmltvChannel): void {
    if (!this.#channels.has(channel.id)) this.#channels.set(channel.id, channel);
    if (this.#channels.size > MAX_CHANNELS) throw new GuideError(`it has more than ${MAX_CHANNELS} channels`);
  }

  async #addProgramme(programme: XmltvProgramme): Promise<void> {
    const text = programmeText(programme);
    if (text === '') return;
    this.#programmes += 1;
    if (this.#programmes > MAX_PROGRAMMES) throw new GuideError(`it has more than ${MAX_PROGRAMMES} programmes`);
    const { channel, startMs, stopMs = startMs } = programme;
    const range = this.#ranges.get(channel);
    if (!range) this.#ranges.set(channel, { fromMs: startMs, toMs: stopMs });
    else {
      range.fromMs = Math.min(range.fromMs, startMs);
      range.toMs = Math.max(range.toMs, stopMs);
    }
    await this.#packed.write(text);
  }
}

function isWithin({ channel, startMs, stopMs = startMs }: XmltvProgramme, ranges: ReadonlyMap<string, Range>): boolean {
  const range = ranges.get(channel);
  return range !== undefined && stopMs > range.fromMs && startMs < range.toMs;
}

function guideChannel({ id, elements }: XmltvChannel): GuideChannel {
  return { id, names: elements.filter(({ name }) => name === 'display-name').map(textOf) };
}
