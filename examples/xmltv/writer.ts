import { conform } from './dtd.ts';
import { formatTime } from './time.ts';
import type { XmlElement, XmltvChannel, XmltvProgramme } from './types.ts';

/** A document is `tvBegin`, all channels, all programmes, `TV_END`: in pieces, since a guide is larger than one likes to hold. */
export function tvBegin(attributes: Readonly<Record<string, string>> = {}): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tv SYSTEM "xmltv.dtd">\n<tv${attributesText(attributes)}>\n`;
}

export const TV_END = '</tv>\n';

/** Only what is valid of it; nothing if that is too little. */
export function channelText({ id, elements }: XmltvChannel): string {
  return lineOf({ name: 'channel', attributes: { id }, children: elements });
}

/** Only what is valid of it; nothing if that is too little, as without a title. */
export function programmeText({ channel, startMs, stopMs, attributes, elements }: XmltvProgramme): string {
  const times = { start: formatTime(startMs), ...(stopMs !== undefined && { stop: formatTime(stopMs) }) };
  return lineOf({ name: 'programme', attributes: { ...attributes, ...times, channel }, children: elements });
}

function lineOf(element: XmlElement): string {
  const valid = conform(element);
  return valid ? `${elementText(valid)}\n` : '';
}

function elementText({ name, attributes, children }: XmlElement): string {
  const begin = `<${name}${attributesText(attributes)}`;
  const inner = children.map((child) => (typeof child === 'string' ? escapeText(child) : elementText(child))).join('');
  return inner === '' ? `${begin}/>` : `${begin}>${inner}</${name}>`;
}

function attributesText(attributes: Readonly<Record<string, string>>): string {
  return Object.entries(attributes)
    .map(([name, value]) => ` ${name}="${escapeAttribute(value)}"`)
    .join('');
}

/** What XML can't hold at all, not even escaped: most control characters, halves of a pair, and two that are none. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const NO_CHARACTER = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu;

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#13;', '\n': '&#10;', '\t': '&#9;' },
};

function escapeText(text: string): string {
  return text.replace(NO_CHARACTER, '').replace(/[&<>\r]/g, (character) => ESCAPES[character] as string);
}

function escapeAttribute(text: string): string {
  return text.replace(NO_CHARACTER, '').replace(/[&<>"\r\n\t]/g, (character) => ESCAPES[character] as string);
}
