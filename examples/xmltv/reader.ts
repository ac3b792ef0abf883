import { type SaxesAttributePlain, SaxesParser, type SaxesTagPlain } from 'saxes';
import { decoded } from './decoding.ts';
import { XmltvError } from './errors.ts';
import { parseTime } from './time.ts';
import type { XmlElement, XmltvItem } from './types.ts';

export interface ReadLimits {
  /** Of the document as text, in bytes as they come (unpacked). @default 512 MiB */
  readonly maxBytes?: number | undefined;
  /** Elements in a channel or programme. @default 2000 */
  readonly maxElements?: number | undefined;
}

const MAX_BYTES = 512 * 1024 * 1024;
const MAX_ELEMENTS = 2_000;
const MAX_DEPTH = 12;
/** Of one channel or programme, and of a piece of text, a comment or a tag. */
const MAX_CHARACTERS = 1024 * 1024;

/**
 * Reads a document as it comes, whatever its encoding, and gives what is in it, a few at a time, so that what waits for
 * it can go at its own pace. What came before an error belongs to a document that is no good: use nothing of it.
 *
 * Entities beyond those of XML itself are refused, not expanded. A channel without an id and a programme without channel
 * or start can't be used and are left out.
 *
 * @throws XmltvError with the line, if it is no XMLTV, ends too early, or is larger than the limits.
 */
export async function* readXmltv(
  bytes: AsyncIterable<Uint8Array>,
  { maxBytes = MAX_BYTES, maxElements = MAX_ELEMENTS }: ReadLimits = {},
): AsyncGenerator<readonly XmltvItem[], void, void> {
  const document = new DocumentParser(maxElements);
  let size = 0;
  for await (const { text, byteLength } of decoded(bytes, () => document.line)) {
    size += byteLength;
    if (size > maxBytes) throw new XmltvError(document.line, `it is larger than ${maxBytes} bytes`);
    yield document.write(text);
  }
  yield document.close();
}

interface OpenElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: (XmlElement | string)[];
}

class DocumentParser {
  readonly #parser = new SaxesParser({ xmlns: false });
  readonly #maxElements: number;
  /** From `tv` inwards. */
  readonly #open: OpenElement[] = [];
  #items: XmltvItem[] = [];
  /** Of the channel or programme that is being read. */
  #elements = 0;
  #characters = 0;
  /** Since the parser told of anything: what it holds meanwhile. */
  #silent = 0;

  constructor(maxElements: number) {
    this.#maxElements = maxElements;
    this.#parser.on('opentag', (tag) => this.#begin(tag));
    this.#parser.on('closetag', () => this.#end());
    this.#parser.on('attribute', (attribute) => this.#attribute(attribute));
    this.#parser.on('text', (text) => this.#text(text));
    this.#parser.on('cdata', (text) => this.#text(text));
    for (const event of ['comment', 'doctype', 'processinginstruction'] as const) {
      this.#parser.on(event, () => this.#heard());
    }
  }

  get line(): number {
    return this.#parser.line;
  }

  write(text: string): readonly XmltvItem[] {
    this.#silent += text.length;
    this.#parse(() => this.#parser.write(text));
    if (this.#silent > MAX_CHARACTERS) this.#refuse(`a piece of it is longer than ${MAX_CHARACTERS} characters`);
    const items = this.#items;
    this.#items = [];
    return items;
  }

  close(): readonly XmltvItem[] {
    this.#parse(() => this.#parser.close());
    return this.#items;
  }

  #parse(work: () => unknown): void {
    try {
      work();
    } catch (error) {
      if (error instanceof XmltvError) throw error;
      throw new XmltvError(this.line, (error as Error).message.replace(/^\d+:\d+: /, ''), error);
    }
  }

  #heard(): void {
    this.#silent = 0;
  }

  #begin({ name, attributes }: SaxesTagPlain): void {
    this.#heard();
    const depth = this.#open.length;
    if (depth === 0 && name !== 'tv')
      this.#refuse(`it begins with <${name.slice(0, 40)}>, an XMLTV document with <tv>`);
    if (depth === 1) [this.#elements, this.#characters] = [0, 0];
    this.#elements += 1;
    if (depth > MAX_DEPTH) this.#refuse(`its elements are nested more than ${MAX_DEPTH} deep`);
    if (depth > 0 && this.#elements > this.#maxElements)
      this.#refuse(`one has more than ${this.#maxElements} elements`);
    this.#open.push({ name, attributes: { ...attributes }, children: [] });
  }

  #attribute({ name, value }: SaxesAttributePlain): void {
    this.#count(name.length + value.length);
  }

  #text(text: string): void {
    this.#heard();
    if (this.#open.length < 2) return;
    this.#count(text.length);
    this.#open.at(-1)?.children.push(text);
  }

  #count(characters: number): void {
    this.#characters += characters;
    if (this.#characters > MAX_CHARACTERS) this.#refuse(`a piece of it is longer than ${MAX_CHARACTERS} characters`);
  }

  #end(): void {
    this.#heard();
    const element = this.#open.pop() as OpenElement;
    if (this.#open.length === 1) this.#items.push(...itemOf(element));
    else if (this.#open.length > 1) this.#open.at(-1)?.children.push(element);
  }

  #refuse(why: string): never {
    throw new XmltvError(this.line, why);
  }
}

function itemOf({ name, attributes, children }: OpenElement): readonly XmltvItem[] {
  const elements = children.filter((child) => typeof child !== 'string');
  if (name === 'channel') return attributes.id ? [{ kind: 'channel', id: attributes.id, elements }] : [];
  const { channel, start = '', stop, ...rest } = attributes;
  const startMs = parseTime(start);
  if (name !== 'programme' || !channel || startMs === undefined) return [];
  const stopMs = stop === undefined ? undefined : parseTime(stop);
  const isSpan = stopMs !== undefined && stopMs > startMs;
  return [{ kind: 'programme', channel, startMs, ...(isSpan && { stopMs }), attributes: rest, elements }];
}
