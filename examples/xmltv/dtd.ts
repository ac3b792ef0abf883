import type { XmlElement } from './types.ts';

/** What the format allows an element to be; after the names of children: `+` one or more, `*` any number, `?` one or none. */
interface Model {
  /** `person`: text, images and links, in any order. */
  readonly content: 'text' | 'empty' | 'person' | readonly string[];
  /** Any text, or one of these. */
  readonly attributes?: Readonly<Record<string, 'any' | readonly string[]>>;
  readonly required?: string;
}

const any = 'any';
const TEXT: Model = { content: 'text' };
const SPOKEN: Model = { content: 'text', attributes: { lang: any } };
const PERSON: Model = { content: 'person' };
const RATING: Model = { content: ['value+', 'icon*'], attributes: { system: any } };
const PEOPLE = [
  'director',
  'actor',
  'writer',
  'adapter',
  'producer',
  'composer',
  'editor',
  'presenter',
  'commentator',
  'guest',
];

/** The document type of XMLTV (xmltv.dtd of its release 1.2.1), but for `tv`, which is what all these are in. */
const MODELS: Readonly<Record<string, Model>> = {
  channel: { content: ['display-name+', 'icon*', 'url*'], attributes: { id: any }, required: 'id' },
  programme: {
    content: [
      ...['title+', 'sub-title*', 'desc*', 'credits?', 'date?', 'category*', 'keyword*', 'language?'],
      ...['orig-language?', 'length?', 'icon*', 'url*', 'country*', 'episode-num*', 'video?', 'audio?'],
      ...['previously-shown?', 'premiere?', 'last-chance?', 'new?', 'subtitles*', 'rating*', 'star-rating*'],
      ...['review*', 'image*'],
    ],
    attributes: {
      ...{ start: any, stop: any, 'pdc-start': any, 'vps-start': any, showview: any, videoplus: any },
      ...{ channel: any, clumpidx: any },
    },
  },
  'display-name': SPOKEN,
  icon: { content: 'empty', attributes: { src: any, width: any, height: any }, required: 'src' },
  url: { content: 'text', attributes: { system: any } },
  title: SPOKEN,
  'sub-title': SPOKEN,
  desc: SPOKEN,
  credits: { content: PEOPLE.map((role) => `${role}*`) },
  ...Object.fromEntries(PEOPLE.map((role) => [role, PERSON])),
  actor: { content: 'person', attributes: { role: any, guest: ['no', 'yes'] } },
  date: TEXT,
  category: SPOKEN,
  keyword: SPOKEN,
  language: SPOKEN,
  'orig-language': SPOKEN,
  length: { content: 'text', attributes: { units: ['seconds', 'minutes', 'hours'] }, required: 'units' },
  country: SPOKEN,
  'episode-num': { content: 'text', attributes: { system: any } },
  video: { content: ['present?', 'colour?', 'aspect?', 'quality?'] },
  audio: { content: ['present?', 'stereo?'] },
  ...{ present: TEXT, colour: TEXT, aspect: TEXT, quality: TEXT, stereo: TEXT, value: TEXT },
  'previously-shown': { content: 'empty', attributes: { start: any, channel: any } },
  premiere: SPOKEN,
  'last-chance': SPOKEN,
  new: { content: 'empty' },
  subtitles: { content: ['language?'], attributes: { type: ['teletext', 'onscreen', 'deaf-signed'] } },
  rating: RATING,
  'star-rating': RATING,
  review: {
    content: 'text',
    attributes: { type: ['text', 'url'], source: any, reviewer: any, lang: any },
    required: 'type',
  },
  image: {
    content: 'text',
    attributes: {
      type: ['poster', 'backdrop', 'still', 'person', 'character'],
      size: ['1', '2', '3'],
      orient: ['P', 'L'],
      system: any,
    },
  },
};

/**
 * What is left of an element when all that the format does not have is left out, with its children in the order of the
 * format. `undefined` if nothing valid can be made of it, as of an icon without an address.
 */
export function conform(element: XmlElement): XmlElement | undefined {
  const model = Object.hasOwn(MODELS, element.name) ? MODELS[element.name] : undefined;
  const attributes = Object.entries(element.attributes).filter(([name, value]) => isAllowed(model, name, value));
  const hasRequired = model?.required === undefined || attributes.some(([name]) => name === model.required);
  const children = model && hasRequired ? childrenOf(element, model.content) : undefined;
  return children && { name: element.name, attributes: Object.fromEntries(attributes), children };
}

function isAllowed(model: Model | undefined, name: string, value: string): boolean {
  const allowed = Object.hasOwn(model?.attributes ?? {}, name) ? model?.attributes?.[name] : undefined;
  return allowed !== undefined && (allowed === 'any' || allowed.includes(value));
}

function childrenOf(element: XmlElement, content: Model['content']): XmlElement['children'] | undefined {
  if (content === 'empty') return [];
  const texts = element.children.filter((child) => typeof child === 'string');
  if (content === 'text') return texts;
  if (content === 'person') return element.children.flatMap(ofPerson);
  return inOrder(element, content);
}

function ofPerson(child: XmlElement | string): readonly (XmlElement | string)[] {
  if (typeof child === 'string') return [child];
  const kept = ['image', 'url'].includes(child.name) ? conform(child) : undefined;
  return kept ? [kept] : [];
}

function inOrder({ children }: XmlElement, slots: readonly string[]): readonly XmlElement[] | undefined {
  const valid = children.flatMap((child) => (typeof child === 'string' ? [] : (conform(child) ?? [])));
  const bySlot = slots.map((slot) => {
    const found = valid.filter(({ name }) => name === slot.slice(0, -1));
    return slot.endsWith('?') || slot === 'value+' ? found.slice(0, 1) : found;
  });
  const isComplete = bySlot.every((found, index) => found.length > 0 || !slots[index]?.endsWith('+'));
  return isComplete ? bySlot.flat() : undefined;
}
