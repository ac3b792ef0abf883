import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatTime, parseTime, type XmlElement, XmltvError, type XmltvItem } from '../../examples/xmltv/index.ts';
import { canCheck, checkAgainstDtd, documentOf, itemsOf } from './support.ts';

const DOCUMENT = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tv SYSTEM "xmltv.dtd">
<tv generator-info-name="test">
  <channel id="news.example"><display-name lang="en">News &amp; more</display-name><icon src="http://h/a.png"/></channel>
  <programme start="20260131200000 +0100" stop="20260131210000 +0100" channel="news.example" clumpidx="0/1" made-up="1">
    <desc>What <![CDATA[<happened>]]></desc>
    <title>The Evening</title>
    <made-up><deep>kept</deep></made-up>
    <credits><actor role="Self">Ann <image>http://h/ann.png</image></actor></credits>
    <episode-num system="xmltv_ns">0.1.</episode-num>
    <rating system="VCHIP"><value>TV-G</value></rating>
  </programme>
</tv>
`;

describe('a document', () => {
  it.each([1, 7, 100_000])('is read with all that is in it, in pieces of %i bytes', async (pieceBytes) => {
    const [channel, programme] = await itemsOf(DOCUMENT, pieceBytes);
    expect(channel).toMatchObject({ kind: 'channel', id: 'news.example' });
    expect(programme).toMatchObject({
      startMs: Date.UTC(2026, 0, 31, 19),
      stopMs: Date.UTC(2026, 0, 31, 20),
      attributes: { clumpidx: '0/1', 'made-up': '1' },
    });
    const elements = (programme as { elements: readonly XmlElement[] }).elements;
    expect(elements.map(({ name }) => name)).toEqual(['desc', 'title', 'made-up', 'credits', 'episode-num', 'rating']);
    expect(elements[0]?.children.join('')).toBe('What <happened>');
    expect(elements[2]).toMatchObject({ children: [{ name: 'deep', children: ['kept'] }] });
  });

  it('is written with what the format has, in its order, and reads the same again', async () => {
    const text = documentOf(await itemsOf(DOCUMENT));
    expect(text).toContain(
      '<programme clumpidx="0/1" start="20260131190000 +0000" stop="20260131200000 +0000" channel="news.example">' +
        '<title>The Evening</title><desc>What &lt;happened&gt;</desc><credits><actor role="Self">Ann ' +
        '<image>http://h/ann.png</image></actor></credits>',
    );
    expect(text).not.toContain('made-up');
    expect(documentOf(await itemsOf(text))).toBe(text);
    await checkAgainstDtd(text);
  });

  it.each([
    ['UTF-8 with a mark', (text: string) => Buffer.from(`\ufeff${text}`)],
    ['UTF-16', (text: string) => Buffer.from(`\ufeff${text.replace('UTF-8', 'UTF-16')}`, 'utf16le')],
    ['UTF-16 without a mark', (text: string) => Buffer.from(text.replace('UTF-8', 'UTF-16'), 'utf16le')],
    ['UTF-16 of the other order', (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le').swap16()],
    ['ISO-8859-1', (text: string) => Buffer.from(text.replace('UTF-8', 'ISO-8859-1'), 'latin1')],
    ['windows-1252', (text: string) => Buffer.from(text.replace('UTF-8', 'windows-1252'), 'latin1')],
  ])('is read in %s', async (_, encode) => {
    const items = await itemsOf(encode(DOCUMENT.replace('The Evening', 'Größe – é'.replace('–', '-'))), 3);
    expect(documentOf(items)).toContain('<title>Größe - é</title>');
  });

  it.each([
    ['is cut', DOCUMENT.slice(0, -40), /^line 1[12]: /],
    ['is empty', '', /^line 1: /],
    ['is a page', '<!DOCTYPE html>\n<html><body>Restarting…</body></html>', /^line 2: it begins with <html>/],
    ['is no XML', 'Restarting', /^line 1: /],
    ['is not well-formed', DOCUMENT.replace('</desc>', '</dsc>'), /^line 6: unexpected close tag/],
    ['has entities of its own', bomb(), /^line 5: undefined entity/i],
    [
      'reads files',
      '<!DOCTYPE tv [<!ENTITY f SYSTEM "file:///etc/passwd">]>\n<tv><channel id="&f;"/></tv>',
      /^line 2: undefined/i,
    ],
    ['has an encoding that nobody knows', DOCUMENT.replace('UTF-8', 'EBCDIC-X'), /^line 1: its encoding "EBCDIC-X"/],
    [
      'is not in its encoding',
      Buffer.from(DOCUMENT.replace('The', 'Thé'), 'latin1'),
      /^line \d+: what follows is no utf-8/,
    ],
    ['has a character that XML has not', DOCUMENT.replace('The', '\x01'), /^line 7: disallowed character/],
    ['is nested without end', `<tv>${'<a>'.repeat(100_000)}`, /nested more than 12 deep/],
    ['has a programme without end', `<tv><programme>${'<a/>'.repeat(5_000)}`, /more than 2000 elements/],
    ['has a text without end', `<tv><programme><desc>${'a'.repeat(1_100_000)}`, /longer than 1048576 characters/],
    ['has a comment without end', `<tv><!-- ${'a'.repeat(1_100_000)}`, /longer than 1048576 characters/],
    ['has an attribute without end', `<tv><channel id="${'a'.repeat(1_100_000)}`, /longer than 1048576 characters/],
    ['has a name without end', `<tv><${'a'.repeat(1_100_000)}`, /longer than 1048576 characters/],
    [
      'has attributes without end',
      `<tv><channel ${Array.from({ length: 200_000 }, (_, n) => `a${n}="1"`).join(' ')}`,
      /longer than/,
    ],
    ['is gzip', gzipSync(DOCUMENT), /^line 1: /],
  ])('that %s is refused, with the line', async (_, document, why) => {
    const error = await itemsOf(document, 32_768).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(XmltvError);
    expect((error as XmltvError).message).toMatch(why);
  });

  it('leaves out what has no channel or no time, and an end before the begin', async () => {
    const [first, ...more] = await itemsOf(
      `<tv><channel/><programme channel="a" start="soon"/><programme start="2026"/><other/>
       <programme channel="a" start="20260131200000" stop="20260131190000"><title>A</title></programme></tv>`,
    );
    expect(more).toEqual([]);
    expect(first).toEqual({
      ...{ kind: 'programme', channel: 'a', startMs: Date.UTC(2026, 0, 31, 20), attributes: {} },
      elements: [{ name: 'title', attributes: {}, children: ['A'] }],
    });
  });
});

function bomb(): string {
  const entities = ['<!ENTITY a "ha">', '<!ENTITY b "&a;&a;&a;">', '<!ENTITY c "&b;&b;&b;">'].join('\n');
  return `<!DOCTYPE tv [\n${entities}\n]><tv><programme channel="&c;"/></tv>`;
}

describe('a time', () => {
  it.each([
    ['20260131200000 +0100', '2026-01-31T19:00:00.000Z'],
    ['20260131200000 -0330', '2026-01-31T23:30:00.000Z'],
    ['20260131200000', '2026-01-31T20:00:00.000Z'],
    ['202601312000', '2026-01-31T20:00:00.000Z'],
    ['20260131', '2026-01-31T00:00:00.000Z'],
    ['2026', '2026-01-01T00:00:00.000Z'],
    ['20260131200000 BST', '2026-01-31T19:00:00.000Z'],
    ['20260131200000 EST', '2026-02-01T01:00:00.000Z'],
    ['20260131200000Z', '2026-01-31T20:00:00.000Z'],
    ['20260231000000', undefined],
    ['20261301000000', undefined],
    ['20260131250000', undefined],
    ['20261231235960', '2027-01-01T00:00:00.000Z'],
    ['20261399995960', undefined],
    ['20260231000060', undefined],
    ['20260131200000 MARS', undefined],
    ['2026-01-31', undefined],
    ['', undefined],
  ])('%s is %s', (text, iso) => {
    const ms = parseTime(text);
    expect(ms === undefined ? undefined : new Date(ms).toISOString()).toBe(iso);
  });

  it('reads as it was written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (seconds) => {
        expect(parseTime(formatTime(seconds * 1_000))).toBe(seconds * 1_000);
      }),
    );
  });
});

const NAMES = ['title', 'desc', 'icon', 'credits', 'actor', 'image', 'length', 'rating', 'value', 'video', 'present'];
const MORE_NAMES = ['review', 'new', 'subtitles', 'language', 'url', 'made-up', 'constructor', 'programme', 'category'];
const ATTRIBUTES = ['lang', 'src', 'units', 'type', 'system', 'role', 'guest', 'size', 'made-up', 'toString'];
const VALUES = ['text', 'minutes', 'yes', '1', 'en', '<&>"\'\r\n\t', '\0\ud800'];

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.constantFrom(...VALUES));
const { element } = fc.letrec<{ element: XmlElement }>((tie) => ({
  element: fc.record({
    name: fc.constantFrom(...NAMES, ...MORE_NAMES),
    attributes: fc.dictionary(fc.constantFrom(...ATTRIBUTES), fc.oneof(text, fc.constantFrom(...VALUES)), {
      maxKeys: 4,
    }),
    children: fc.array(fc.oneof({ maxDepth: 3 }, text, tie('element')), { maxLength: 6 }),
  }),
}));
const start = fc.integer({ min: 0, max: 2_000_000_000 }).map((seconds) => seconds * 1_000);
const item: fc.Arbitrary<XmltvItem> = fc.oneof(
  fc.record({ kind: fc.constant('channel' as const), id: text, elements: fc.array(element) }),
  fc.record({
    kind: fc.constant('programme' as const),
    channel: text,
    startMs: start,
    attributes: fc.dictionary(fc.constantFrom(...ATTRIBUTES, 'clumpidx'), text),
    elements: fc.array(element, { maxLength: 12 }),
  }),
);

describe('whatever is written', () => {
  it('reads the same again', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(item, { maxLength: 8 }),
        fc.integer({ min: 1, max: 200 }),
        async (items, pieceBytes) => {
          const named = items.map((item) =>
            item.kind === 'channel' ? { ...item, id: `c${item.id}` } : { ...item, channel: `c${item.channel}` },
          );
          const once = documentOf(named);
          expect(documentOf(await itemsOf(once, pieceBytes))).toBe(once);
        },
      ),
      { numRuns: 60 },
    );
  });

  it.runIf(canCheck)('is valid by the document type of XMLTV', async () => {
    const samples = fc.sample(item, 400);
    await checkAgainstDtd(documentOf(samples));
    await expect(checkAgainstDtd('<tv><programme/></tv>')).rejects.toThrow(/does not follow the DTD/);
  });
});
