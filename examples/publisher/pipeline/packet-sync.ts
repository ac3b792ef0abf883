import { isInSync, PACKET_BYTES } from '../../mpeg-ts/index.ts';

/** One sync byte is chance; so many in a row, a packet apart, are none. */
const PACKETS = 5;
/** So many bytes decide: some that precede the first whole packet, and the packets. */
export const DECIDING_BYTES: number = PACKETS * PACKET_BYTES;

/**
 * Where the first packet of MPEG-TS begins, if these bytes are that: a stream may be joined within a packet. Packets of 192
 * or 204 bytes, as recorders and some receivers have them, are not in sync in this sense.
 */
export function firstPacketIn(bytes: Buffer): number | undefined {
  for (let at = 0; at < PACKET_BYTES && at + (PACKETS - 1) * PACKET_BYTES < bytes.length; at++) {
    if (isInSync(bytes, at, PACKETS)) return at;
  }
  return undefined;
}
