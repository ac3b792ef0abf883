import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { channelText, programmeText, readXmltv, TV_END, tvBegin, type XmltvItem } from '../../examples/xmltv/index.ts';
import { debianFile, debianProgram } from '../support/debian.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Everything in a document, which comes in pieces of so many bytes. */
export async function itemsOf(document: string | Uint8Array, pieceBytes = 1_000): Promise<XmltvItem[]> {
  const bytes = Buffer.from(document as string);
  const pieces = Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, index) =>
    bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  );
  const items: XmltvItem[] = [];
  for await (const some of readXmltv(Readable.from(pieces))) items.push(...some);
  return items;
}

export function documentOf(items: readonly XmltvItem[]): string {
  const channels = items.flatMap((item) => (item.kind === 'channel' ? channelText(item) : []));
  const programmes = items.flatMap((item) => (item.kind === 'programme' ? programmeText(item) : []));
  return [tvBegin(), ...channels, ...programmes, TV_END].join('');
}

const xmllint = await debianProgram('xmllint', ['libxml2-utils', 'libxml2', 'libicu72']);
const dtd = await debianFile('usr/share/xmltv/xmltv.dtd', ['xmltv-util']);

/** Whether documents can be checked here. */
export const canCheck: boolean = xmllint !== undefined && dtd !== undefined;

/** Rejects with what the real xmllint says of a document, by the document type that Debian's xmltv-util has. */
export async function checkAgainstDtd(document: string): Promise<void> {
  if (!xmllint || !dtd) return;
  const path = join(temporaryDirectory(), 'guide.xml');
  writeFileSync(path, document);
  const options = { env: xmllint.env, maxBuffer: 10_000_000 };
  await promisify(execFile)(xmllint.path, ['--noout', '--nonet', '--huge', '--dtdvalid', dtd, path], options);
}
