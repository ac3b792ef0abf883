import { isInSync, PACKET_BYTES, SYNC_BYTE } from './packet.ts';

const NOTHING = Buffer.alloc(0);

/**
 * Finds the packets in bytes that come in pieces cut anywhere, always the same ones. What is no packet is left out: one
 * sync byte in a picture is chance, so after that two in a row are waited for.
 */
export class PacketReader {
  /** What no packet was found in yet. */
  #rest: Buffer = NOTHING;
  #isInSync = false;

  /** Calls `take` for every packet that is whole with these bytes, in order, with what it is in and where it begins. */
  read(bytes: Buffer, take: (bytes: Buffer, at: number) => void): void {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    let at = 0;
    for (; at + this.#needed <= all.length; ) {
      if (this.#isPacket(all, at)) {
        this.#isInSync = true;
        take(all, at);
        at += PACKET_BYTES;
      } else {
        this.#isInSync = false;
        const next = all.indexOf(SYNC_BYTE, at + 1);
        at = next < 0 ? all.length : next;
      }
    }
    this.#rest = at < all.length ? Buffer.from(all.subarray(at)) : NOTHING;
  }

  get #needed(): number {
    return this.#isInSync ? PACKET_BYTES : PACKET_BYTES + 1;
  }

  /** It may have been found out of sync just now. */
  #isPacket(all: Buffer, at: number): boolean {
    return this.#isInSync ? all[at] === SYNC_BYTE : isInSync(all, at);
  }
}
