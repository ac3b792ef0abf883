/** The text that comes; undefined as soon as it is longer than so many bytes, and then no more of it is read. */
export async function boundedText(chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string | undefined> {
  const taken: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) return undefined;
    taken.push(chunk);
  }
  return Buffer.concat(taken).toString('utf8');
}
