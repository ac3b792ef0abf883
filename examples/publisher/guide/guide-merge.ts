import {
  channelText,
  elementOf,
  formatTime,
  programmeText,
  readXmltv,
  TV_END,
  textOf,
  tvBegin,
  type XmlElement,
  type XmltvChannel,
  type XmltvProgramme,
} from '../../xmltv/index.ts';
import { guideChannel, isOver, type KeptGuide } from './guide-intake.ts';
import { type GuideTarget, isCalled, matchChannels } from './guide-match.ts';
import { oneSchedule, type Span } from './guide-overlap.ts';
import { PackedText, unpacked } from './packed-text.ts';
import { whileWanted } from './wanted.ts';

/** A channel of ours as it is in the guide. */
export interface GuideSubject extends GuideTarget {
  /** The number that players know it by, which no other has: they look for what is on under this. */
  readonly guideNumber: string;
  readonly logo?: string | undefined;
}

/** What is on, for people who look what is on now. */
export interface Listed {
  readonly startMs: number;
  readonly stopMs: number;
  readonly title: string;
  readonly subTitle: string;
}

export interface MergedGuide {
  /** A valid XMLTV document with all our channels. */
  readonly gzip: Buffer;
  /** By the id of our channel, in the order of time. */
  readonly listed: ReadonlyMap<string, readonly Listed[]>;
  readonly programmes: number;
}

interface Entry extends Span {
  readonly title: string;
  readonly subTitle: string;
  /** In bytes: a text that was put together keeps all its pieces in memory. */
  readonly xml: Buffer;
}

export interface MergeOptions {
  readonly nowMs: number;
  /** A guide that was merged before; it fills what no source says anything about. */
  readonly before?: Buffer | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The guide of our channels from those of all sources, the dearest first. Others get a turn every few milliseconds. */
export async function mergeGuides(
  ours: readonly GuideSubject[],
  sources: readonly KeptGuide[],
  options: MergeOptions,
): Promise<MergedGuide> {
  const { signal, before } = options;
  const schedules = new Schedules(ours, options);
  for (const { gzip, channels } of sources) await schedules.add(gzip, await matchChannels(ours, channels, signal));
  if (before) await schedules.add(before, await stillOurs(ours, before, signal));
  using packed = new PackedText();
  await packed.write(tvBegin({ 'generator-info-name': 'holdfast-publisher' }));
  for (const subject of ours) await packed.write(subjectText(subject, schedules.iconOf(subject)));
  const listed = new Map<string, readonly Listed[]>();
  let programmes = 0;
  for (const subject of ours) {
    signal?.throwIfAborted();
    const schedule = schedules.of(subject);
    listed.set(subject.id, schedule.map(listedOf));
    programmes += schedule.length;
    for (const entry of schedule) await packed.write(withStop(entry));
  }
  await packed.write(TV_END);
  return { gzip: await packed.end(), listed, programmes };
}

/** Which channels of a guide that was merged before are ours: the number of one may be that of another by now. */
async function stillOurs(
  ours: readonly GuideSubject[],
  merged: Buffer,
  signal: AbortSignal | undefined,
): Promise<Map<string, string>> {
  const byNumber = new Map(ours.map((subject) => [subject.guideNumber, subject]));
  const found = new Map<string, string>();
  for await (const items of whileWanted(readXmltv(unpacked(merged)), signal)) {
    for (const item of items) {
      if (item.kind === 'programme') return found;
      const subject = byNumber.get(item.id);
      if (subject && isCalled(guideChannel(item), subject.name)) found.set(subject.id, item.id);
    }
  }
  return found;
}

/** What the documents say of our channels, the dearest document first. */
class Schedules {
  readonly #ours: readonly GuideSubject[];
  readonly #options: MergeOptions;
  /** Of each document, by our ids. */
  readonly #entries: ReadonlyMap<string, Entry[]>[] = [];
  readonly #icons = new Map<string, XmlElement>();

  constructor(ours: readonly GuideSubject[], options: MergeOptions) {
    this.#ours = ours;
    this.#options = options;
  }

  /** @param matches which of its channels each of ours is, by our id */
  async add(gzip: Buffer, matches: ReadonlyMap<string, string>): Promise<void> {
    const { signal } = this.#options;
    const byTheirs = Map.groupBy(this.#ours, ({ id }) => matches.get(id));
    const entries = new Map([...matches.keys()].map((id) => [id, [] as Entry[]]));
    for await (const items of whileWanted(readXmltv(unpacked(gzip)), signal)) {
      for (const item of items) {
        if (item.kind === 'channel') this.#addIcon(item, byTheirs.get(item.id));
        else this.#addProgramme(item, byTheirs.get(item.channel), entries);
      }
    }
    this.#entries.push(entries);
  }

  of({ id }: GuideSubject): ReturnType<typeof oneSchedule<Entry>> {
    return oneSchedule(this.#entries.map((byId) => byId.get(id) ?? []));
  }

  iconOf({ id }: GuideSubject): XmlElement | undefined {
    return this.#icons.get(id);
  }

  #addIcon({ elements }: XmltvChannel, ours: readonly GuideSubject[] = []): void {
    const icon = elementOf(elements, 'icon');
    for (const { id } of ours) if (icon && !this.#icons.has(id)) this.#icons.set(id, icon);
  }

  #addProgramme(programme: XmltvProgramme, ours: readonly GuideSubject[] = [], to: ReadonlyMap<string, Entry[]>): void {
    if (isOver(programme, this.#options.nowMs)) return;
    for (const { id, guideNumber } of ours) to.get(id)?.push(entryOf(programme, guideNumber));
  }
}

function listedOf({ startMs, stopMs, title, subTitle }: Entry & Listed): Listed {
  return { startMs, stopMs, title, subTitle };
}

function entryOf(programme: XmltvProgramme, channel: string): Entry {
  const { startMs, stopMs, elements } = programme;
  return {
    ...{ startMs, stopMs },
    title: textOf(elementOf(elements, 'title')),
    subTitle: textOf(elementOf(elements, 'sub-title')),
    xml: Buffer.from(programmeText({ ...programme, channel })),
  };
}

/** An end that came from what follows is written too, as players don't look there. */
function withStop({ xml, stopMs }: Entry & { readonly stopMs: number }): string {
  const text = xml.toString();
  const stop = ` stop="${formatTime(stopMs)}"`;
  const begin = text.slice(0, text.indexOf('>'));
  // Within a value there is no quotation mark, so that these are attributes.
  const others = begin.replace(/ stop="[^"]*"/, '');
  return others.replace(/ start="[^"]*"/, `$&${stop}`) + text.slice(begin.length);
}

/** Players look for a channel by its number, its name, or both. */
function subjectText({ name, guideNumber, logo }: GuideSubject, icon: XmlElement | undefined): string {
  const displayNames = [...new Set([`${guideNumber} ${name}`, name, guideNumber])].map((text) => ({
    name: 'display-name',
    attributes: {},
    children: [text],
  }));
  const own = logo === undefined ? icon : { name: 'icon', attributes: { src: logo }, children: [] };
  return channelText({ kind: 'channel', id: guideNumber, elements: [...displayNames, ...(own ? [own] : [])] });
}
