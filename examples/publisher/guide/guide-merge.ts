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
  type XmltvProgramme,
} from '../../xmltv/index.ts';
import { isOver, type KeptGuide } from './guide-intake.ts';
import { type GuideTarget, matchChannels } from './guide-match.ts';
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

/** The guide of our channels from those of all sources, the dearest first. Others get a turn every few milliseconds. */
export async function mergeGuides(
  ours: readonly GuideSubject[],
  sources: readonly KeptGuide[],
  nowMs: number,
  signal?: AbortSignal,
): Promise<MergedGuide> {
  const entries = [];
  const icons = new Map<string, XmlElement>();
  for (const source of sources) entries.push(await entriesOf(source, { ours, nowMs, icons, signal }));
  const packed = new PackedText();
  await packed.write(tvBegin({ 'generator-info-name': 'holdfast-publisher' }));
  for (const subject of ours) await packed.write(subjectText(subject, icons.get(subject.id)));
  const listed = new Map<string, readonly Listed[]>();
  for (const { id } of ours) {
    signal?.throwIfAborted();
    const schedule = oneSchedule(entries.map((bySubject) => bySubject.get(id) ?? []));
    listed.set(
      id,
      schedule.map(({ startMs, stopMs, title, subTitle }) => ({ startMs, stopMs, title, subTitle })),
    );
    for (const entry of schedule) await packed.write(withStop(entry));
  }
  await packed.write(TV_END);
  const programmes = [...listed.values()].reduce((sum, { length }) => sum + length, 0);
  return { gzip: await packed.end(), listed, programmes };
}

interface Wanted {
  readonly ours: readonly GuideSubject[];
  readonly nowMs: number;
  /** Filled with those of the guide's channels. */
  readonly icons: Map<string, XmlElement>;
  readonly signal: AbortSignal | undefined;
}

async function entriesOf(source: KeptGuide, { ours, nowMs, icons, signal }: Wanted): Promise<Map<string, Entry[]>> {
  const matches = matchChannels(ours, source.channels);
  const bySource = Map.groupBy(ours, ({ id }) => matches.get(id));
  const entries = new Map([...matches.keys()].map((id) => [id, [] as Entry[]]));
  for await (const items of whileWanted(readXmltv(unpacked(source.gzip)), signal)) {
    for (const item of items) {
      const icon = item.kind === 'channel' ? elementOf(item.elements, 'icon') : undefined;
      for (const { id, guideNumber } of bySource.get(item.kind === 'channel' ? item.id : item.channel) ?? []) {
        if (icon && !icons.has(id)) icons.set(id, icon);
        if (item.kind === 'programme' && !isOver(item, nowMs)) entries.get(id)?.push(entryOf(item, guideNumber));
      }
    }
  }
  return entries;
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
