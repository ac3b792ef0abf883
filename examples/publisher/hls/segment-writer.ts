import { associationPacket, PACKET_BYTES, type Program } from '../../mpeg-ts/index.ts';

const FIRST_BYTES = 256 * 1024;

/**
 * Puts the bytes of one segment after the other together. Each begins with the tables of the program, which are left out
 * everywhere else, so that it can be played by itself; their continuity counters go on from segment to segment.
 */
export class SegmentWriter {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;
  readonly #counters = new Map<number, number>();

  get length(): number {
    return this.#length;
  }

  /** @param map the packets of the program's map table */
  begin({ number, mapPid }: Program, map: readonly Buffer[]): void {
    this.#length = 0;
    for (const [pid, packets] of [[0, [associationPacket(number, mapPid)]] as const, [mapPid, map] as const]) {
      for (const packet of packets) this.#addTable(pid, packet);
    }
  }

  /** One packet, which begins at `at`. */
  add(bytes: Buffer, at: number): void {
    if (this.#length + PACKET_BYTES > this.#bytes.length) this.#grow();
    this.#length += bytes.copy(this.#bytes, this.#length, at, at + PACKET_BYTES);
  }

  /** All of the segment, which is over. */
  end(): Buffer {
    const segment = Buffer.from(this.#bytes.subarray(0, this.#length));
    this.#length = 0;
    return segment;
  }

  #addTable(pid: number, packet: Buffer): void {
    const counter = this.#counters.get(pid) ?? 0;
    this.#counters.set(pid, (counter + 1) & 0x0f);
    const at = this.#length;
    this.add(packet, 0);
    this.#bytes[at + 3] = ((packet[3] as number) & 0xf0) | counter;
  }

  #grow(): void {
    const larger = Buffer.allocUnsafe(this.#bytes.length * 2);
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
