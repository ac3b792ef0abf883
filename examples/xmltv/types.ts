/** An element of a document, with all that is in it. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly (XmlElement | string)[];
}

export interface XmltvChannel {
  readonly kind: 'channel';
  readonly id: string;
  /** `display-name`, `icon`, `url` and whatever else is there, in the order of the document. */
  readonly elements: readonly XmlElement[];
}

export interface XmltvProgramme {
  readonly kind: 'programme';
  /** The id of a channel. */
  readonly channel: string;
  readonly startMs: number;
  /** Unknown in some documents: it ends when the next begins. */
  readonly stopMs?: number | undefined;
  /** Those of the element beside these. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly elements: readonly XmlElement[];
}

export type XmltvItem = XmltvChannel | XmltvProgramme;

/** The first element of a name. */
export function elementOf(elements: readonly XmlElement[], name: string): XmlElement | undefined {
  return elements.find((element) => element.name === name);
}

/** All text in an element, blanks as one. */
export function textOf(element: XmlElement | undefined): string {
  const pieces = element?.children.map((child) => (typeof child === 'string' ? child : textOf(child))) ?? [];
  return pieces.join('').replace(/\s+/g, ' ').trim();
}
