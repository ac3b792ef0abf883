/** Made at the first use: what each byte does to the checksum of MPEG-TS (polynomial 04C11DB7, the highest bit first). */
let table: Uint32Array | undefined;

/** Of a section that is whole, its own checksum included, it is 0. */
export function crc32(bytes: Buffer): number {
  table ??= Uint32Array.from({ length: 256 }, (_, byte) => remainderOf(byte));
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = ((crc << 8) ^ (table[(crc >>> 24) ^ byte] as number)) >>> 0;
  return crc;
}

function remainderOf(byte: number): number {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c1_1db7 : crc << 1;
  return crc >>> 0;
}
