import { TextDecoder } from 'node:util';
import { XmltvError } from './errors.ts';

/** So much is parsed at a time: a few milliseconds of work, after which others have a turn. */
const SLICE_BYTES = 32 * 1024;
/** An XML declaration is over by then. */
const SNIFF_BYTES = 256;

export interface Decoded {
  readonly text: string;
  readonly byteLength: number;
}

/** The text of a document by its byte order mark or its XML declaration, else UTF-8. */
export async function* decoded(bytes: AsyncIterable<Uint8Array>, line: () => number): AsyncGenerator<Decoded> {
  let decoder: TextDecoder | undefined;
  let begin = Buffer.alloc(0);
  for await (const slice of slicesOf(bytes)) {
    if (decoder) yield decode(decoder, slice, line);
    else begin = Buffer.concat([begin, slice]);
    if (decoder || begin.length < SNIFF_BYTES) continue;
    decoder = decoderFor(begin, line);
    yield decode(decoder, begin, line);
  }
  decoder ??= decoderFor(begin, line);
  yield decode(decoder, begin.length < SNIFF_BYTES ? begin : Buffer.alloc(0), line, { isLast: true });
}

async function* slicesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
      yield chunk.subarray(at, at + SLICE_BYTES);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

function decoderFor(begin: Buffer, line: () => number): TextDecoder {
  const encoding = encodingOf(begin);
  try {
    return new TextDecoder(encoding, { fatal: true });
  } catch (error) {
    throw new XmltvError(line(), `its encoding ${JSON.stringify(encoding)} is unknown`, error);
  }
}

/** By its first bytes: even without a mark each `<` of UTF-16 has a zero beside it. */
function encodingOf(begin: Buffer): string {
  const first = begin.subarray(0, 2).toString('hex');
  if (first === 'feff' || first === '003c') return 'utf-16be';
  if (first === 'fffe' || first === '3c00') return 'utf-16le';
  return /^<\?xml[^>]*?\sencoding\s*=\s*["']([^"']{1,40})["']/.exec(begin.toString('latin1'))?.[1] ?? 'utf-8';
}

function decode(
  decoder: TextDecoder,
  bytes: Uint8Array,
  line: () => number,
  { isLast = false }: { readonly isLast?: boolean } = {},
): Decoded {
  try {
    return { text: decoder.decode(bytes, { stream: !isLast }), byteLength: bytes.length };
  } catch (error) {
    throw new XmltvError(line(), `what follows is no ${decoder.encoding}`, error);
  }
}
